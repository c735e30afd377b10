# SPDX-License-Identifier: MIT
"""Objects, dictionaries, strings and JSON: what a Python program is made of.

    work.py [RECORDS [ROUNDS]]
"""
import json
import random
import sys


class Record:
    def __init__(self, number, name):
        self.number, self.name, self.links = number, name, []


def work(rng, size):
    records = [Record(i, "".join(rng.choices("abcdefghij", k=8))) for i in range(size)]
    for record in records:
        record.links = [rng.choice(records) for _ in range(3)]
    by_name = {}
    for record in records:
        by_name.setdefault(record.name[:2], []).append(record)
    text = json.dumps([{"n": r.number, "name": r.name, "links": [x.number for x in r.links]}
                       for r in records])
    back = json.loads(text)
    words = sorted({word for word in text.split(",") if "name" in word})
    rows = [tuple(f"{value:>12}" for value in entry["links"]) for entry in back]
    return len(text), len(words), len(rows), len(by_name)


def main():
    size = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    rng = random.Random(1)
    for _ in range(rounds):
        print(*work(rng, size))


main()
