/* SPDX-License-Identifier: MIT */
/*
 * The life of one span among three CPUs: mm/mcache.h on handing over, with each
 * access to shared memory as a step of its own.
 *
 *	owner	CPU 0 .. 2, CENTRAL, NOBODY, or BUILDING: made anew
 *	used	bit i: object i is handed out		remote	freed from afar
 *	claim	inbox_next is taken			inbox[c] in the inbox of CPU c
 *	held	bit i: somebody has object i: whoever wants to may free it
 *
 * Every CPU does STEPS times (the first: once more) one of: allocate, free any object,
 * look into its inbox, give the span up, take it or one object of it from mcentral, end
 * an empty one there, make a new span of the same structure once it has ended. What a CPU does to its own span it does in order;
 * local frees and folds are one instruction each.
 *
 * Claims of the code, checked in every state:
 *	- no object is handed out while somebody holds it
 *	- no span ends under an object
 *	- a span is in one inbox at most, and never posted to nobody
 *	- at the end no remote bit and no claim is left that nobody is told of
 *
 * Each of these switches leaves a part of the protocol out, and must be caught:
 *	LOOK_FIRST	a remote free looks at the claim before it sets the bit
 *	NO_CLAIM	the owner gives up without a claim
 *	FOLD_FIRST	the owner folds before it lets go of the claim
 *	NO_SECOND_LOOK	who lets go does not look for bits that came meanwhile
 *	NO_OWNER_CHECK	mcentral settles a span that a CPU has taken
 *	BORN_UNCLAIMED	a structure is not claimed while it is nobody's
 *	SPARE_UNCLAIMED	an empty span of mcentral's is ended without a claim
 */
#ifndef STEPS
#define STEPS 2
#endif
#define CPUS 3
#define ALL 3
#define CENTRAL 3
#define NOBODY 4
#define BUILDING 5

byte owner = 0, used = 0, remote = 0, held = 0;
bool claim = false, locked = false; /* mcentral's lock */
bool inbox[CPUS];
byte ended = 0; /* CPUs that are through */

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

/* What is freed from afar becomes free: exchange, then and. */
inline fold() {
	atomic { bits = remote; remote = 0 }
	assert((bits & held) == 0);
	used = used & ~bits
}

/* The caller has the claim, and keeps it in the structure's name. */
inline end_span() {
	assert(held == 0 && used == 0);
	owner = NOBODY;
#ifdef BORN_UNCLAIMED
	claim = false
#endif
}

/* again: the claim was taken once more. */
inline let_go() {
	claim = false;
	again = false;
#ifndef NO_SECOND_LOOK
	if
	:: remote != 0 -> atomic { if :: !claim -> claim = true; again = true :: else fi }
	:: else
	fi
#endif
}

/* The caller has the claim. */
inline settle() {
	done_here = false;
	do
	:: lock();
	   if
#ifndef NO_OWNER_CHECK
	   :: owner != CENTRAL -> unlock(); break
	   :: else
#else
	   :: true
#endif
	   fi;
	   fold();
	   if
	   :: used == 0 -> end_span(); unlock(); done_here = true; break
	   :: unlock() /* also an empty one may stay, for the next request */
	   fi;
	   let_go();
	   if
	   :: again
	   :: else -> done_here = true; break
	   fi
	od
}

inline post() {
	do
	:: seen = owner;
	   if
	   :: seen == CENTRAL ->
		settle();
		if :: done_here -> break :: else fi
	   :: seen == CENTRAL -> /* an NMI: not the lock, but its own CPU */
		atomic { assert(!inbox[me]); inbox[me] = true };
		break
	   :: else ->
		assert(seen < CENTRAL);
		atomic { assert(!inbox[seen]); inbox[seen] = true };
		break
	   fi
	od
}

inline free_afar(x) {
#ifdef LOOK_FIRST
	looked = claim;
	atomic { remote = remote | (1 << x) };
	if
	:: !looked -> atomic { if :: !claim -> claim = true; again = true :: else -> again = false fi }
	:: else -> again = false
	fi;
#else
	atomic { remote = remote | (1 << x) };
	atomic { if :: !claim -> claim = true; again = true :: else -> again = false fi };
#endif
	if
	:: again -> post()
	:: else
	fi
}

/* What the window, or mcentral under its lock, hands out. */
inline take(x) {
	atomic {
		x = (used & 1 -> 1 : 0);
		assert(!(held & (1 << x)));
		used = used | (1 << x);
		held = held | (1 << x)
	}
}

/* An empty span that stayed with mcentral; its lock is held. */
inline end_spare() {
#ifdef SPARE_UNCLAIMED
	claim = true;
	end_span()
#else
	atomic { if :: !claim -> claim = true; again = true :: else -> again = false fi };
	if :: again -> end_span() :: else fi
#endif
}

/* Own or not is settled: only the own CPU, which is here, gives a span up. */
inline free_one(x) {
	if
	:: owner == me -> assert(used & (1 << x)); used = used & ~(1 << x)
	:: else -> free_afar(x)
	fi
}

inline give_up() {
#ifdef NO_CLAIM
	again = true;
#else
	atomic { if :: !claim -> claim = true; again = true :: else -> again = false fi };
#endif
	if
	:: again ->
		lock();
		owner = CENTRAL;
		fold();
		if
		:: used == 0 -> end_span(); unlock()
		:: else ->
			unlock();
			let_go();
			if :: again -> post() :: else fi
		fi
	:: else
	fi
}

inline drain() {
	inbox[me] = false;
	if
	:: owner == me ->
#ifdef FOLD_FIRST
		fold();
		claim = false
#else
		claim = false;
		fold()
#endif
	:: else -> post()
	fi
}

proctype cpu(byte me; byte steps) {
	byte bits, seen, x;
	bool again, done_here;
#ifdef LOOK_FIRST
	bool looked;
#endif

	do
	:: steps == 0 -> break
	:: steps > 0 ->
		steps--;
		if
		:: atomic { owner == me && used != ALL -> take(x) }
		:: atomic { held & 1 -> held = held & ~1; x = 0 };
			free_one(x)
		:: atomic { held & 2 -> held = held & ~2; x = 1 };
			free_one(x)
		:: inbox[me] -> drain()
		:: owner == me -> give_up()
		:: owner == CENTRAL ->
			lock();
			if
			:: owner == CENTRAL -> owner = me
			:: owner == CENTRAL && used != ALL -> take(x) /* a request with a place */
			:: owner == CENTRAL && used == 0 -> end_spare()
			:: else
			fi;
			unlock()
		:: atomic { owner == NOBODY -> owner = BUILDING };
			owner = me;
			claim = false
		:: true
		fi;
		atomic { x = 0; bits = 0; seen = 0; again = false; done_here = false }
	od;
	ended++
}

/* The last word: what is left is in an inbox, where its owner will see it. */
proctype judge() {
	ended == CPUS;
	assert(remote == 0 || inbox[0] || inbox[1] || inbox[2]);
	assert(!claim || owner >= NOBODY || inbox[0] || inbox[1] || inbox[2]);
	assert((used & ~remote) == held || owner >= NOBODY)
}

init {
	atomic {
		used = ALL;
		held = ALL;
		run cpu(0, STEPS + 1);
		run cpu(1, STEPS);
		run cpu(2, STEPS);
		run judge()
	}
}
