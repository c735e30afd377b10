# SPDX-License-Identifier: MIT
"""What the trace python3 records: its start, then objects, dictionaries and strings."""


class Record:
    def __init__(self, number):
        self.number, self.name = number, f"record {number * 7919 % 1000:03}"
        self.links = []


records = [Record(i) for i in range(200)]
for record in records:
    record.links = [records[record.number * k % len(records)] for k in (3, 5, 7)]
by_name = {}
for record in records:
    by_name.setdefault(record.name[:-1], []).append(record)
text = " ".join(f"{r.number}:{r.name}:{[x.number for x in r.links]}" for r in records)
back = [entry.split(":") for entry in text.replace(", ", ",").split(" ") if ":" in entry]
rows = [tuple(f"{value:>8}" for value in entry) for entry in back]
words = sorted({word for word in text.split() if "1" in word})
print(len(text), len(words), len(rows), len(by_name))
