# SPDX-License-Identifier: MIT
# Words counted, records in hashes of arrays, sorted, joined, matched and cut.
#
#	work.pl [ROUNDS [WORDS]]
use strict;
use warnings;

my $seed = 12345;
sub below { $seed = ($seed * 1103515245 + 12345) % 2147483648; return int($seed / 65536) % $_[0] }

my $rounds = shift // 3;
my $words = shift // 20000;
for my $round (1 .. $rounds) {
	my (%count, %records, @lines);
	for my $i (1 .. $words) {
		my $word = join '', map { chr(97 + below(26)) } 1 .. 2 + below(3);
		$count{$word}++;
		push @{ $records{substr($word, 0, 2)} }, { id => $i, word => $word, twice => $word x 2 };
	}
	for my $key (sort keys %records) {
		my @sorted = sort { $a->{word} cmp $b->{word} } @{ $records{$key} };
		push @lines, join ',', map { "$_->{id}:$_->{twice}" } @sorted;
	}
	my $text = join "\n", @lines;
	my $vowels = () = $text =~ /[aeiou]{2,}/g;
	$text =~ s/(\d+):/<$1>/g;
	my @fields = map { [ split /,/ ] } split /\n/, $text;
	printf "%d words, %d lines, %d vowels, %d fields\n", scalar keys %count, scalar @lines,
		$vowels, scalar map { @$_ } @fields;
}
