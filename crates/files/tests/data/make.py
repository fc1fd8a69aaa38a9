#!/usr/bin/env python3
"""Makes the files of this folder, as programs in two languages write them. Needs openpyxl, pyarrow and zstandard.

`tests/nasty.rs` reads each of them; its snapshot says what is found.
"""

import datetime
import gzip
import json
import pathlib

import openpyxl
import pyarrow
import pyarrow.parquet
import zstandard

HERE = pathlib.Path(__file__).parent


def text(name, content, encoding="utf-8"):
    (HERE / name).write_bytes(content.encode(encoding))


def book(name, sheets, state=()):
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for title, rows in sheets.items():
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(row)
        if title in state:
            sheet.sheet_state = "hidden"
    workbook.save(HERE / name)


# Delimiters.
text("01-semicolon.csv", "id;doc\n1;De koffie is lekker\n2;De thee is vies\n")
text("02-sep-line.csv", "sep=;\r\ndoc_id;doc\r\n1;De koffie is lekker\r\n")
text("03-tabs-in-csv.csv", "doc_id\tdoc\n1\tDe koffie is lekker\n")
text("04-bars.txt", "nummer|tekst|merk\n1|Geweldige telefoon van Apple.|Apple\n2|Samsung valt tegen.|Samsung\n")
text("05-commas-in-semicolons.csv", 'Ordernummer;Opmerking;Cijfer\n10-1;"Prima, snel, netjes";9,5\n10-2;Slecht; 2,0\n')
text("06-one-column-with-commas.csv", "review\nGreat coffee, nice staff, clean\n\"Quoted, too\"\n")
text("07-tsv.tsv", "id\ttext\n1\tGreat \"coffee\"\n2\tBad tea\n")
# Encodings.
text("08-utf8-mark.csv", "\ufeffid,doc\n1,café Zoë\n", "utf-8")
text("09-windows-1252.csv", "doc_id;doc\r\n1;De koffie in café Zoë is lekker\r\n2;Voor € 5 – it’s fine\r\n", "cp1252")
text("10-utf16-le-mark.csv", "id\tdoc\r\n1\tDe café is prima\r\n", "utf-16")
text("11-utf16-le-unmarked.txt", "Bad tea\nGood café\n", "utf-16-le")
text("12-utf16-be-unmarked.csv", "id,doc\n1,Bad tea\n", "utf-16-be")
text("13-macintosh.csv", "id;opmerking\r1;Het café serveert crème brûlée\r2;Geen idee\r", "mac-roman")
text("14-late-accent.csv", "id,doc\n" + "".join(f"{n},plain row {n}\n" for n in range(1, 4)) + "4,Beyoncé was là\n", "cp1252")
(HERE / "15-one-bad-byte.csv").write_bytes("id,doc\n1,café\n2,broken ".encode() + b"\xff" + " here\n3,Zoë\n".encode())
text("16-lost-before.csv", "id,doc\n1,caf\ufffd is closed\n")
# Lines and rows.
text("17-crlf-blank.csv", "doc\r\nGreat coffee\r\n\r\n\r\nBad tea\r\n\r\nFine milk\r\n")
text("18-empty-text.csv", "id,doc\n1,Great coffee\n2,\n3,Bad tea\n4,\" \"\n")
text("19-unclosed-quote.csv", 'doc_id,doc\n1,"Great coffee\n2,Bad coffee\n3,"Fine, thanks"\n4,Good\n')
text("20-unclosed-at-end.csv", 'doc_id,doc\n1,Fine\n2,"Great coffee\n')
text("21-ragged.csv", "id,doc\n1,Great\n2,Bad,extra\n3\n4,Fine,\n")
text("22-stray-quotes.csv", 'id,doc\n1,"The 5" screen is great"\n2,"a ""good"" one"\n3,say "hi" now\n')
text("23-lines-in-cells.csv", 'id,doc\n1,"First line\r\nsecond, line"\n2,next\n')
text("24-nul.csv", "id,doc\n1,Gre\0at\n2,Bad\n")
text("25-trailing-delimiters.csv", "id;doc;;\n1;Goed;;\n;;;\n;;;\n2;Slecht;;\n")
text("26-same-names.csv", "id,doc,doc\n1,a good one,b\n")
text("27-formula.csv", 'doc_id,doc\n"=1+1",Great coffee\n2,"=cmd|x"\n')
text("28-no-header.csv", "1;De koffie is lekker\n2;De thee is vies\n")
# Exports of surveys and shops.
text("29-survey.csv", '"Respondent ID","Start Date","Wat vond u goed?","Opmerkingen"\n"118","01/02/2026 10:11","alles","Prima geholpen, dank!"\n"119","01/02/2026 10:12","","n.v.t."\n')
text("30-webshop.csv", "order_id,product_name,review_title,review_body,rating,created_at\n5001,Kettle,Nice,Boils fast; looks good,5,2026-01-03\n5002,Kettle,Meh,\"Leaks.\nAvoid.\",1,2026-01-09\n")
text("31-webwinkel.csv", "Ordernummer;Datum;Beoordeling;Productnaam;Recensie\n2026001;03-01-2026;5;Waterkoker;Kookt snel\n2026002;09-01-2026;1;Waterkoker;Lekt; nooit meer\n")
# JSON.
text("32-list.json", json.dumps([{"doc_id": "7", "doc": "Great coffee", "entities": ["coffee"]}, {"doc": 7}, {"doc": "Bad"}], indent=1))
text("33-request.json", json.dumps({"docs": [{"doc_id": "a", "doc": "Great"}, {"doc_id": "b", "doc": "Bad", "entities": [{"name": "NS", "aliases": ["de NS"]}]}]}))
text("34-mixed.jsonl", '{"doc": "Good.", "extra": 1}\n{"doc": 7}\n\n{"text": "Bad.", "id": 4}\n{"doc": "cut off"\n["x"]\n{"doc": "x", "entities": [""]}\n')
text("35-cut-off.json", '[{"doc": "Good."}, {"doc": "Ba')
# Packed.
(HERE / "36-packed.csv.gz").write_bytes(gzip.compress("id;doc\n1;Goed\n".encode(), mtime=0))
(HERE / "37-packed.jsonl.zst").write_bytes(zstandard.compress(b'{"doc": "Good"}\n'))
# Excel.
book("38-excel.xlsx", {"Blad1": [["Nr", "Datum", "Opmerking", "Cijfer"], [1, datetime.date(2026, 1, 3), "Prima café", 9.5], [2, datetime.datetime(2026, 1, 4, 9, 30), None, 7], [], [4, None, "#NAME?", 1]]})
book("39-excel-title.xlsx", {"Toelichting": [["Lees mij"]], "Data": [["Export klanttevredenheid"], [], ["Respondent", "Antwoord"], ["R1", "Slecht geholpen"]]}, state=["Toelichting"])
book("40-two-sheets.xlsx", {"Reviews": [["text"], ["Great"], [12]], "Other": [["x"]]})
(HERE / "41-old-excel.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(64))
# Parquet.
table = pyarrow.table({
    "id": pyarrow.array([1, 2], pyarrow.int64()),
    "review": ["Great", None],
    "entities": [["coffee", "tea"], None],
    "when": pyarrow.array([datetime.datetime(2026, 1, 3, 10), None], pyarrow.timestamp("s")),
    "stars": pyarrow.array([4.5, None], pyarrow.float32()),
    "shop": pyarrow.array(["a", "b"]).dictionary_encode(),
})
pyarrow.parquet.write_table(table, HERE / "42-typed.parquet")
text("43-empty.csv", "")
text("44-header-only.csv", "id,doc\n")
text("45-prose.txt", "Great coffee, really\nBad tea; never again\n\n  {not json\n")
