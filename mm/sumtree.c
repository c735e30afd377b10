// SPDX-License-Identifier: MIT
/* Summaries of free memory; see sumtree.h for the picture. */
#include "mm/framebits.h"
#include "mm/sumtree.h"

static unsigned child_of(uint64_t chunk_nr, unsigned level)
{
	return (unsigned)(chunk_nr >> (3 * level)) % SUM_FANOUT;
}

/* Frames below one child of a node at this level. */
static uint64_t child_frames(unsigned level)
{
	return (uint64_t)CHUNK_FRAMES << (3 * level);
}

/* The longest run of ones in a word if it is longer than @max, else @max. */
static unsigned longest_run(uint64_t ones, unsigned max)
{
	unsigned left = max, shrunk = 0;

	if (max >= 64)
		return max;
	/* Take @max off each run at once: a run shrunk by k may shrink by k + 1 next. */
	while (left && ones) {
		unsigned by = MIN(shrunk + 1, left);

		ones &= by < 64 ? ones >> by : 0;
		shrunk += by;
		left -= by;
	}
	for (; ones; ones &= ones >> 1)
		max++;
	return max;
}

uint64_t chunk_sum(const struct chunk *chunk)
{
	unsigned start = 0, max = 0, run = 0;
	bool at_start = true;

	for (unsigned w = 0; w < CHUNK_WORDS; w++) {
		uint64_t free = word_free(&chunk->word[w]);

		if (free == ~0ULL) {
			run += 64;
			continue;
		}
		/* The run that reaches in from below ends in this word. */
		run += ctz64(~free);
		if (at_start)
			start = run;
		at_start = false;
		max = MAX(max, run);
		run = 0;
		if (!free)
			continue;
		max = longest_run(free & (free + 1), max);
		run = clz64(~free);
	}
	if (at_start)
		return SUM_FULL | sum_pack(run, run, run);
	return sum_pack(start, MAX(max, run), run);
}

uint64_t sum_merge(const uint64_t sum[SUM_FANOUT], uint64_t frames)
{
	uint64_t start = 0, max = 0, run = 0;
	bool at_start = true;

	for (unsigned i = 0; i < SUM_FANOUT; i++) {
		if (sum[i] & SUM_FULL) {
			run += frames;
			continue;
		}
		if (at_start)
			start = run + sum_start(sum[i]);
		at_start = false;
		max = MAX(max, MAX(run + sum_start(sum[i]), sum_max(sum[i])));
		run = sum_end(sum[i]);
	}
	if (at_start)
		return SUM_FULL | sum_pack(run, run, run);
	return sum_pack(start, MAX(max, run), run);
}

static struct sumnode *new_node(struct meta_pool *pool, unsigned level)
{
	return meta_alloc(pool, level ? META_NODE : META_LEAF);
}

static void adopt(struct sumnode *parent, unsigned slot, struct sumnode *node)
{
	node->parent = parent;
	node->slot = (uint8_t)slot;
	parent->child[slot] = node;
}

/* Put roots above the root until the tree covers the chunk. */
static bool raise(struct sumtree *tree, uint64_t chunk_nr, struct meta_pool *pool)
{
	if (!tree->root) {
		unsigned level = 0;

		while (chunk_nr >> (3 * (level + 1)))
			level++;
		tree->root = new_node(pool, level);
		tree->level = level;
		return tree->root;
	}
	while (chunk_nr >> (3 * (tree->level + 1))) {
		struct sumnode *root = new_node(pool, tree->level + 1);

		if (!root)
			return false;
		root->sum[0] = sum_merge(tree->root->sum, child_frames(tree->level));
		adopt(root, 0, tree->root);
		tree->root = root;
		tree->level++;
	}
	return true;
}

struct sumnode *sumtree_leaf(struct sumtree *tree, uint64_t chunk_nr, struct meta_pool *pool)
{
	struct sumnode *node;

	if (!raise(tree, chunk_nr, pool))
		return NULL;
	node = tree->root;
	for (unsigned level = tree->level; level; level--) {
		unsigned slot = child_of(chunk_nr, level);
		struct sumnode *child = node->child[slot];

		if (!child) {
			child = new_node(pool, level - 1);
			if (!child)
				return NULL;
			adopt(node, slot, child);
		}
		node = child;
	}
	return node;
}

bool sumtree_put(struct sumnode *leaf, uint64_t chunk_nr, uint64_t sum)
{
	uint64_t *at = &leaf->sum[child_of(chunk_nr, 0)];
	bool differs = *at != sum;

	*at = sum;
	return differs;
}

void sumtree_carry_up(const struct sumnode *leaf)
{
	const struct sumnode *node = leaf;

	for (unsigned level = 0; node->parent; level++, node = node->parent) {
		uint64_t sum = sum_merge(node->sum, child_frames(level));

		if (node->parent->sum[node->slot] == sum)
			break;
		node->parent->sum[node->slot] = sum;
	}
}

/*
 * The search goes through the address space in order and carries the run of
 * free frames that ends where it stands.
 */
struct search {
	const struct sumtree *tree;
	const struct run_wanted *want;
	uint64_t run_base, run_len;
	uint64_t found;
};

static void extend(struct search *s, uint64_t base, uint64_t n)
{
	if (!s->run_len)
		s->run_base = base;
	s->run_len += n;
}

/* Is there room in the run, inside the window, at an aligned frame? */
static bool fits(struct search *s)
{
	const struct run_wanted *want = s->want;
	uint64_t at = round_up(MAX(s->run_base, want->lo), want->align);

	if (at + want->n > MIN(s->run_base + s->run_len, want->hi))
		return false;
	s->found = at;
	return true;
}

/* Of a word what lies in the window. */
static uint64_t free_inside(const struct run_wanted *want, uint64_t free, uint64_t at)
{
	if (want->lo > at)
		free &= ~mask_low((unsigned)MIN(want->lo - at, 64));
	if (want->hi < at + 64)
		free &= want->hi > at ? mask_low((unsigned)(want->hi - at)) : 0;
	return free;
}

/* Runs of up to a word, however scattered the chunk is: not one after the other. */
static bool search_words(struct search *s, const struct chunk *chunk, uint64_t base)
{
	const struct run_wanted *want = s->want;

	for (uint64_t at = base; at < base + CHUNK_FRAMES; at += 64) {
		const struct frame_word *word = &chunk->word[at % CHUNK_FRAMES / 64];
		uint64_t free = free_inside(want, word_free(word), at);
		unsigned head = ctz64(~free), tail = clz64(~free), bit;

		/* The run that reaches in from below, or starts here. */
		if (head)
			extend(s, at, head);
		if (s->run_len >= want->n && fits(s))
			return true;
		if (head == 64)
			continue;
		bit = word_find_run(free, (unsigned)want->n, (unsigned)want->align);
		if (bit < 64) {
			s->found = at + bit;
			return true;
		}
		s->run_len = 0;
		if (tail)
			extend(s, at + 64 - tail, tail);
	}
	return false;
}

static bool search_chunk(struct search *s, uint64_t base)
{
	const struct chunk *chunk = chunk_find(s->tree->index, base << FRAME_SHIFT);
	unsigned at = 0, n;

	if (s->want->n <= 64 && s->want->align <= 64)
		return search_words(s, chunk, base);
	while ((n = chunk_next_run(chunk, &at))) {
		if (at)
			s->run_len = 0;
		extend(s, base + at, n);
		if (fits(s))
			return true;
		at += n;
	}
	if (at != CHUNK_FRAMES || !(word_free(&chunk->word[CHUNK_WORDS - 1]) >> 63))
		s->run_len = 0;
	return false;
}

/* Can a run that fits begin in the child, or end there? */
static bool worth_a_look(const struct search *s, uint64_t sum)
{
	uint64_t n = MIN(s->want->n, SUM_MAX);

	return sum_max(sum) >= n || s->run_len + sum_start(sum) >= n ||
	       sum_start(sum) == SUM_MAX || sum_end(sum) == SUM_MAX;
}

static bool search_node(struct search *s, const struct sumnode *node, unsigned level, uint64_t base)
{
	uint64_t frames = child_frames(level);

	for (unsigned i = 0; i < SUM_FANOUT; i++, base += frames) {
		uint64_t sum = node->sum[i];

		if (!sum || base + frames <= s->want->lo || base >= s->want->hi) {
			s->run_len = 0;
			continue;
		}
		if (sum & SUM_FULL) {
			extend(s, base, frames);
			if (fits(s))
				return true;
			continue;
		}
		if (worth_a_look(s, sum)) {
			if (level ? search_node(s, node->child[i], level - 1, base)
				  : search_chunk(s, base))
				return true;
			continue;
		}
		s->run_len = 0;
		extend(s, base + frames - sum_end(sum), sum_end(sum));
	}
	return false;
}

uint64_t sumtree_search(const struct sumtree *tree, const struct run_wanted *want)
{
	struct search s = { .tree = tree, .want = want, .found = SUM_NOT_FOUND };

	if (tree->root)
		search_node(&s, tree->root, tree->level, 0);
	return s.found;
}

static uint64_t last_full(const struct sumnode *node, unsigned level, uint64_t base, uint64_t below)
{
	uint64_t chunks = 1ULL << (3 * level);

	for (unsigned i = SUM_FANOUT; i-- > 0;) {
		uint64_t first = base + i * chunks, found = SUM_NOT_FOUND;

		if (first >= below || sum_max(node->sum[i]) < CHUNK_FRAMES)
			continue;
		if (level)
			found = last_full(node->child[i], level - 1, first, below);
		else if (node->sum[i] & SUM_FULL)
			found = first;
		if (found != SUM_NOT_FOUND)
			return found;
	}
	return SUM_NOT_FOUND;
}

uint64_t sumtree_last_full(const struct sumtree *tree, uint64_t chunk_nr)
{
	return tree->root ? last_full(tree->root, tree->level, 0, chunk_nr) : SUM_NOT_FOUND;
}

static bool has_child(const struct sumnode *node, unsigned from)
{
	for (unsigned i = from; i < SUM_FANOUT; i++)
		if (node->child[i])
			return true;
	return false;
}

void sumtree_prune(struct sumtree *tree, struct sumnode *leaf, struct meta_pool *pool)
{
	struct sumnode *node = leaf, *parent;
	unsigned level = 0;

	for (; (parent = node->parent); node = parent) {
		parent->child[node->slot] = NULL;
		meta_free(pool, level++ ? META_NODE : META_LEAF, node);
		if (has_child(parent, 0))
			break;
	}
	if (!parent) {
		tree->root = NULL;
		meta_free(pool, level ? META_NODE : META_LEAF, node);
		return;
	}
	/* What put roots above the root may be gone. */
	while (tree->level && !has_child(tree->root, 1)) {
		node = tree->root;
		tree->root = node->child[0];
		tree->root->parent = NULL;
		tree->level--;
		meta_free(pool, META_NODE, node);
	}
}

uint64_t sumtree_top(const struct sumtree *tree)
{
	return tree->root ? sum_merge(tree->root->sum, child_frames(tree->level)) : 0;
}

static unsigned check_node(const struct sumnode *node, unsigned level)
{
	unsigned bad = 0;

	for (unsigned i = 0; level && i < SUM_FANOUT; i++) {
		const struct sumnode *child = node->child[i];

		if (!child) {
			bad += node->sum[i] != 0;
			continue;
		}
		bad += node->sum[i] != sum_merge(child->sum, child_frames(level - 1));
		bad += child->parent != node || child->slot != i;
		bad += check_node(child, level - 1);
	}
	return bad;
}

unsigned sumtree_check(const struct sumtree *tree)
{
	return tree->root ? check_node(tree->root, tree->level) : 0;
}
