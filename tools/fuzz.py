"""Damage files of every form that a user can hand over, and look at what the readers make of them.

Half of the cases are damaged in their structure: counts, lines, headers, rows, nesting. The others are damaged byte by
byte. A case fails when a reader ends in anything but a ValueError or an OSError that names the file, takes more than
five seconds of the processor or two gigabytes of memory, or accepts what the file does not say, where that can be
noticed. Each form has a process of its own. Exits 1 when a case failed."""
import argparse
import bz2
import gzip
import io
import json
import lzma
import multiprocessing
import os
import random
import resource
import signal
import sqlite3
import struct
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Literal

SECONDS = 5 # of the processor, for one case
PATIENCE = 300 # seconds of the clock, for a case that only waits; the machine may be busy
MEMORY = 2*10**9 # bytes of a process


@dataclass(frozen=True)
class Form:
    "A form of files, how to make, damage, read and judge them."
    file: str # name of the file that is read
    make: object # () -> dict of name -> bytes
    read: object # path -> what it holds
    judge: object # (what it holds, whether damage must be noticed) -> words for what is wrong, or ''
    structural: tuple = () # functions (random, files) -> (files, whether damage must be noticed)
    damaged: str = '' # the file that is damaged byte by byte; '' is the one that is read
    checked: bool = False # whether every flipped byte must be noticed


class OutOfTime(BaseException):
    "A case took too long; no reader catches this."


# ---- damage byte by byte

def cut(rng, data): return data[:rng.randrange(len(data) + 1)]

def flip(rng, data, times=1):
    data = bytearray(data)
    for _ in range(times): data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)

def flips(rng, data): return flip(rng, data, 8)

def a_block(rng, data): # beginning and end of some bytes
    begin = rng.randrange(len(data))
    return begin, min(len(data), begin + rng.choice([1, 8, 64, 512]))

def zeros(rng, data):
    begin, end = a_block(rng, data)
    return data[:begin] + bytes(end - begin) + data[end:]

def noise(rng, data):
    begin, end = a_block(rng, data)
    return data[:begin] + rng.randbytes(end - begin) + data[end:]

def without(rng, data):
    begin, end = a_block(rng, data)
    return data[:begin] + data[end:]

def twice(rng, data):
    begin, end = a_block(rng, data)
    return data[:end] + data[begin:]

def swapped_lines(rng, data):
    lines = data.split(b'\n')
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    return b'\n'.join(lines)

def inserted(rng, data):
    at = rng.randrange(len(data) + 1)
    what = rng.choice([b'9'*400, b'['*100_000, b'{"a":'*50_000, b'\n'*50, b'\0'*100, b'x'*3_000_000, b'\xff', b'-1',
                       b'1e999', b'nan', b'\xc2\xb2', b'_', b'\x1b[2J', b'"', b','])
    return data[:at] + what + data[at:]

BYTEWISE = (cut, flip, flips, zeros, noise, without, twice, swapped_lines, inserted)


# ---- molecules: what was accepted must be what was written

MOLECULES = ('H2O', 'CH4', 'CH3CH2OH', 'NH3', 'C6H6')

@cache
def molecules(): # list of (symbols, positions, U0)
    from ase.build import molecule
    found = [molecule(name) for name in MOLECULES]
    return [(a.get_chemical_symbols(), a.positions, -40.5 - k) for k, a in enumerate(found)]

def signature(symbols, positions, value): # the same for atoms in another order
    atoms = sorted((s, *(round(float(x), 4) + 0. for x in p)) for s, p in zip(symbols, positions))
    return tuple(atoms), None if value is None else round(float(value), 6)

def read_source(path): # signatures of what was accepted, errors, words for what is wrong with `load_molecules`
    from ase.data import chemical_symbols
    from spherical_cnn.molecules.sources import molecule_stream
    good, wrong = [], []
    for item in molecule_stream(path):
        if isinstance(item, Exception): wrong.append(item)
        else:
            value = item.values.get('U0')
            try: value = None if value is None else float(value)
            except (TypeError, ValueError): value = float('nan')
            good.append(signature([chemical_symbols[z] for z in item.numbers], item.positions, value))
    return good, wrong, trouble(path)

def trouble(path): # words for an unclear error of `load_molecules`, or ''
    from spherical_cnn.molecules.sources import load_molecules
    try: load_molecules(path, 'U0', 'Ha', progress=False)
    except Exception as error: return unclear(error)
    return ''

def judge_molecules(found, strict, late=False): # late: damage shows at the end of the file, behind what was accepted
    good, wrong, said = found
    if said: return f'load_molecules: {said}'
    known = [signature(*m) for m in molecules()]
    for error in wrong:
        said = unclear(error)
        if said: return said
    sizes = {len(atoms) for atoms, _ in good} - {len(atoms) for atoms, _ in known}
    if sizes: return f'accepted {min(sizes)} atoms, which no molecule of the file had'
    if not strict: return ''
    strange = [(a, v) for a, v in good if (a, v) not in known and (v is not None or a not in dict(known))]
    told = late and any('may be wrong as well' in str(error) for error in wrong)
    if strange and not told:
        atoms, value = strange[0]
        return f'accepted {len(atoms)} atoms with U0 = {value}, which the file did not have'
    if len(good) < len(known) and not wrong: return f'{len(known) - len(good)} molecules are lost without a word'
    return ''

def unclear(error): # words, '' for a clear error
    if not isinstance(error, (ValueError, OSError)) or isinstance(error, UnicodeError):
        return f'{type(error).__name__}: {str(error)[:100]}'
    text = str(error)
    if 'case.' not in text: return f'an error that does not name the file: {text[:100]}'
    if not text.isprintable(): return f'an error that a terminal would run: {text[:100]!r}'
    return ''


# ---- xyz

def xyz_text(extended=False, k=None): # of one molecule or of all
    texts = []
    for symbols, positions, value in molecules() if k is None else [molecules()[k]]:
        comment = f'Properties=species:S:1:pos:R:3 U0={value}' if extended else 'a molecule'
        atoms = [f'{s} {x:.6f} {y:.6f} {z:.6f}' for s, (x, y, z) in zip(symbols, positions)]
        texts.append('\n'.join([str(len(symbols)), comment, *atoms]) + '\n')
    return ''.join(texts)

def of_lines(change, rng, files, name=None): # change: (random, lines) -> whether damage must be noticed
    "Damage to the lines of a text file."
    name = name or next(iter(files))
    lines = files[name].decode().split('\n')
    strict = change(rng, lines)
    return files | {name: '\n'.join(lines).encode()}, strict

def headers(lines): # places of the counts in an xyz file
    return [k for k, line in enumerate(lines) if line.strip().isdigit()]

def atoms_of(lines): # places of atoms in an xyz file
    return [k for k, line in enumerate(lines) if len(line.split()) == 4 and line[:1].isalpha() and '=' not in line]

def xyz_count(rng, lines):
    k = rng.choice(headers(lines))
    n = int(lines[k])
    changed = [n - 1, n - 2, n + 1, n + 2, 0, -1, 10**9, 10**30, '³', f'{n}.5', f'{n}_0', f'{n} {n}', '', 'x']
    lines[k] = str(rng.choice(changed))
    return True

def atom_lost(rng, lines): return bool(lines.pop(rng.choice(atoms_of(lines))))

def atom_twice(rng, lines):
    k = rng.choice(atoms_of(lines))
    lines.insert(k, lines[k])
    return True

def blank_line(rng, lines):
    lines.insert(rng.choice(atoms_of(lines)), '')
    return True

def comment_lost(rng, lines): return bool(lines.pop(rng.choice(headers(lines)) + 1))

def header_lost(rng, lines): return bool(lines.pop(rng.choice(headers(lines))))

def cut_in_frame(rng, lines):
    del lines[rng.choice(atoms_of(lines)):]
    lines.append('')
    return True

STRANGE = ('nan', 'inf', '1e30', '1e400', '-1e308', '1_0', '²', '٣', 'x', '9'*5000, '0x1p3', '')

def atom_word(rng, lines):
    k = rng.choice(atoms_of(lines))
    words = lines[k].split()
    place = rng.randrange(4)
    words[place] = rng.choice(STRANGE if place else ('Xx', '0', '119', '²', 'X', '\x1b[2J', ''))
    lines[k] = ' '.join(words)
    return True

COMMENTS = ('x="_JSON ' + '['*100_000 + '"', 'Lattice="3 0 0 0 3 0 0 0 3"', 'Properties=species:S:1:pos:R:9',
            'Properties=', 'Properties=pos:R:3:species:S:1', 'pbc="T T T"', 'charge=1', 'charge=x', 'Lattice=none',
            'virial=0.0', '\x1b[2J', 'x='*10_000, 'Properties=species:S:1:pos:R:3:x:R:²', '"', '=', 'x'*2_000_000)

def xyz_comment(rng, lines):
    k = rng.choice(headers(lines)) + 1
    lines[k] = rng.choice(COMMENTS)
    return not lines[k].startswith('Properties=pos') # which says that the symbol comes last

XYZ_CHANGES = (xyz_count, atom_lost, atom_twice, blank_line, comment_lost, header_lost, cut_in_frame, atom_word,
               xyz_comment)
XYZ = tuple(partial(of_lines, change) for change in XYZ_CHANGES)


# ---- QM9's own files, and archives of them

def gdb_text(k):
    symbols, positions, value = molecules()[k]
    n = len(symbols)
    targets = [f'{value}' if t == 7 else '0.25' for t in range(12)] # U0 is the eighth
    atoms = [f'{s}\t{x:.6f}\t{y:.6f}\t{z:.6f}\t-0.1' for s, (x, y, z) in zip(symbols, positions)]
    lines = [str(n), '\t'.join([f'gdb {k + 1}', '1.0', '2.0', '3.0', *targets]), *atoms, '\t'.join(['9.5']*(3*n - 6))]
    return '\n'.join([*lines, 'C\tC', 'InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4']) + '\n'

def gdb_atoms(lines): return [k for k, line in enumerate(lines) if len(line.split('\t')) == 5]

def gdb_line_lost(rng, lines): return bool(lines.pop(rng.randrange(len(lines) - 1)))

def gdb_line_twice(rng, lines):
    k = rng.randrange(len(lines) - 1)
    lines.insert(k, lines[k])
    return True

def gdb_cut(rng, lines):
    del lines[rng.randrange(1, len(lines) - 1):]
    return True

def gdb_word(rng, lines):
    k = rng.choice(gdb_atoms(lines))
    words = lines[k].split('\t')
    place = rng.randrange(4)
    words[place] = rng.choice(STRANGE if place else ('Xx', '0', '119', '²', ''))
    lines[k] = '\t'.join(words)
    return True

def make_gdb(): return {'case.xyz': gdb_text(2).encode()}

def judge_one(found, strict): # of the form gdb, which has the third molecule alone
    good, wrong, _ = found
    said = judge_molecules(found, False)
    if said or not strict: return said
    if any(g != signature(*molecules()[2]) for g in good): return 'accepted atoms or a value that the file did not have'
    return '' if wrong or good else 'the molecule is lost without a word'

GDB = tuple(partial(of_lines, change) for change in (xyz_count, gdb_line_lost, gdb_line_twice, gdb_cut, gdb_word))

def tar_bytes(members): # list of (name, bytes)
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode='w', format=tarfile.GNU_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return held.getvalue()

def qm9_members(): return [(f'dsgdb9nsd_{k + 1:06d}.xyz', gdb_text(k).encode()) for k in range(len(MOLECULES))]

def tar_places(data): # where the headers stand
    with tarfile.open(fileobj=io.BytesIO(data)) as archive: return [member.offset for member in archive]

def header_flip(rng, data):
    at = rng.choice(tar_places(data)) + rng.randrange(512)
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1:]

def header_zeros(rng, data):
    at = rng.choice(tar_places(data))
    return data[:at] + bytes(512) + data[at + 512:]

def block_lost(rng, data):
    at = rng.randrange(0, len(data.rstrip(b'\0')), 512)
    return data[:at] + data[at + 512:] # no member is as short as that

def ends_early(rng, data): return data[:rng.randrange(0, len(data.rstrip(b'\0')), 512)]

def hostile(rng, data): # a header among the others
    info = tarfile.TarInfo('bad.xyz')
    kind = rng.randrange(7)
    if kind == 0: info.size = 3*10**9
    if kind == 1: info.type, info.linkname = tarfile.SYMTYPE, '/etc/passwd'
    if kind == 2: info.type = tarfile.CHRTYPE
    if kind == 3: info.name = '../../bad.xyz'
    if kind == 4: info.type, info.size = tarfile.XHDTYPE, 3*10**9
    if kind == 5: info.type, info.size = tarfile.GNUTYPE_LONGNAME, 3*10**9
    if kind == 6: info.type, info.size = tarfile.GNUTYPE_SPARSE, 10**9
    at = rng.choice(tar_places(data))
    return data[:at] + info.tobuf(tarfile.GNU_FORMAT) + data[at:]

def wrong_size(rng, data): # with the checksum of the header set right
    at = rng.choice(tar_places(data))
    info = tarfile.TarInfo.frombuf(data[at:at + 512], 'utf-8', 'surrogateescape')
    info.size = max(0, info.size + rng.choice([-200, -1, 1, 200, 512, -512, 10**6]))
    return data[:at] + info.tobuf(tarfile.GNU_FORMAT) + data[at + 512:]

def of_member(change, rng, data): # change: to the lines of a file of QM9
    members = qm9_members()
    k = rng.randrange(len(members))
    lines = members[k][1].decode().split('\n')
    change(rng, lines)
    members[k] = members[k][0], '\n'.join(lines).encode()
    return tar_bytes(members)

TAR = (header_flip, header_zeros, block_lost, ends_early, hostile, wrong_size,
       *(partial(of_member, c) for c in (xyz_count, gdb_line_lost, gdb_line_twice, gdb_cut, gdb_word)))

def of_tar(change, pack, unpack, rng, files): # pack and unpack: bytes -> bytes
    (name, data), = files.items()
    return {name: pack(change(rng, unpack(data)))}, True

def same(data): return data

def small_gzip(data): return gzip.compress(data, mtime=0)


# ---- sdf, and the CSV beside it

BONDS = 2 # that each record lists

def sdf_text():
    texts = []
    for k, (symbols, positions, _) in enumerate(molecules()):
        atoms = [f'{x:10.4f}{y:10.4f}{z:10.4f} {s:3} 0  0  0  0' for s, (x, y, z) in zip(symbols, positions)]
        bonds = [f'{1:3d}{b + 2:3d}  1  0' for b in range(BONDS)]
        head = [f'gdb_{k + 1}', ' test', '', f'{len(symbols):3d}{BONDS:3d}  0  0  0  0  0  0  0  0999 V2000']
        texts.append('\n'.join([*head, *atoms, *bonds, 'M  END', '$$$$']) + '\n')
    return ''.join(texts)

def csv_text():
    return 'mol_id,u0,note\n' + ''.join(f'gdb_{k + 1},{m[2]},text\n' for k, m in enumerate(molecules()))

def make_sdf(): return {'case.sdf': sdf_text().encode(), 'case.sdf.csv': csv_text().encode()}

def sdf_counts(lines): return [k for k, line in enumerate(lines) if line.endswith('V2000')]

def sdf_atoms(lines): return [k for k, line in enumerate(lines) if '.' in line[:10]]

def sdf_bonds(lines): return [k for k, line in enumerate(lines) if line.endswith('  1  0')]

def sdf_count(rng, lines):
    k, place = rng.choice(sdf_counts(lines)), rng.choice([0, 3])
    n = int(lines[k][place:place + 3])
    changed = rng.choice([n - 1, n - 2, n + 1, n + 2, n + BONDS, 0, -1, 999, ' 5²', '  ', 'abc'])
    lines[k] = lines[k][:place] + f'{changed:>3}'[:3] + lines[k][place + 3:]
    return True

def line_lost(places, rng, lines): return bool(lines.pop(rng.choice(places(lines))) or True)

def line_twice(places, rng, lines):
    k = rng.choice(places(lines))
    lines.insert(k, lines[k])
    return True

def ends(lines): return [k for k, line in enumerate(lines) if line in ('M  END', '$$$$')]

def sdf_cut(rng, lines):
    del lines[rng.choice(sdf_atoms(lines) + sdf_bonds(lines)):]
    lines.append('')
    return True

def sdf_word(rng, lines):
    k = rng.choice(sdf_atoms(lines))
    words = lines[k].split()
    place = rng.randrange(4)
    words[place] = rng.choice(STRANGE if place < 3 else ('Xx', '0', '1', '119', '²', ''))
    lines[k] = ' '.join(words)
    return True

def sdf_property(rng, lines):
    k = rng.choice([k for k, line in enumerate(lines) if line == 'M  END'])
    added = ['M  CHG  1   1   1', 'M  CHG  1   1', 'M  CHG', 'M  RAD  1   1   2', 'M  ISO', 'x', '']
    lines.insert(k, rng.choice(added))
    return True

def item_twice(rng, lines):
    k = rng.choice([k for k, line in enumerate(lines) if line == '$$$$'])
    lines[k:k] = ['> <U0>', '1.5', '', '> <U0>', '2.5', '']
    return True

SDF = tuple(partial(of_lines, change) for change in (
    sdf_count, partial(line_lost, sdf_atoms), partial(line_twice, sdf_atoms), partial(line_lost, sdf_bonds),
    partial(line_twice, sdf_bonds), partial(line_lost, ends), sdf_cut, sdf_word, sdf_property, item_twice))

def csv_row_twice(rng, lines):
    k = rng.randrange(1, len(lines) - 1)
    lines.insert(rng.randrange(1, len(lines)), lines[k].replace('-4', rng.choice(['-4', '-5'])))
    return True

def csv_row_lost(rng, lines): return bool(lines.pop(rng.randrange(1, len(lines) - 1)))

def csv_cell(rng, lines):
    k = rng.randrange(len(lines) - 1)
    lines[k] += rng.choice([',', ',1', '"', ',"', ','*1000])
    return True

def csv_header(rng, lines):
    lines[0] = rng.choice(['mol_id,u0,u0', 'u0,note,x', 'mol_id,u0', '', 'mol_id,,note', 'mol_id;u0;note',
                           '\x1b[2J,a,b'])
    return True

def csv_cut(rng, lines):
    k = rng.randrange(1, len(lines) - 1)
    lines[k] = lines[k][:rng.randrange(1, len(lines[k]))]
    del lines[k + 1:]
    return True

CSV = tuple(partial(of_lines, change, name='case.sdf.csv')
            for change in (csv_row_twice, csv_row_lost, csv_cell, csv_header, csv_cut))


# ---- ASE databases

@cache
def database():
    import ase.db
    from ase import Atoms
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'case.db'
        with ase.db.connect(path) as held:
            for symbols, positions, value in molecules():
                held.write(Atoms(symbols, positions), U0=value, data=dict(a=1.5))
            held.metadata = {'_distance_unit': 'Ang', '_property_unit_dict': {'U0': 'Ha'}}
        return path.read_bytes()

ROW_CHANGES = (
    'natoms=natoms+1', 'natoms=NULL', 'numbers=NULL', "numbers=x'00'", 'positions=NULL', "numbers=x'00000000'",
    'numbers=substr(numbers, 1, 4)', 'positions=substr(positions, 1, 24)', "numbers='text'", 'numbers=:blob', 'pbc=7',
    "pbc='text'",
    "key_value_pairs='{'", 'key_value_pairs=:nested', "key_value_pairs='[]'", "key_value_pairs='5'", 'data=:blob',
    'data=:nested', "data='5'", "initial_charges=x'000000000000f03f'", "initial_charges='x'",
    "positions=substr(positions, 1, 8)||x'000000000000f87f'||substr(positions, 17)",
    """data='{"x": {"__ndarray__": [[1000000000], "float64", [0]]}}'""", """key_value_pairs='{"charge": 1}'""",
    """key_value_pairs='{"charge": "x"}'""", """key_value_pairs='{"U0": []}'""")
DESCRIPTIONS = (':nested', "'{'", "'[]'", "'5'", """'{"_distance_unit": "furlong"}'""",
                """'{"_property_unit_dict": 5}'""", 'NULL', "x'ff'")
STATEMENTS = (
    *(f'UPDATE systems SET {change} WHERE id=:id' for change in ROW_CHANGES),
    *(f"UPDATE information SET value={value} WHERE name='metadata'" for value in DESCRIPTIONS),
    "UPDATE information SET value='99' WHERE name='version'", 'DROP TABLE information', 'DELETE FROM information',
    'ALTER TABLE systems DROP COLUMN masses', 'ALTER TABLE systems RENAME COLUMN numbers TO other')

def of_database(rng, files):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'case.db'
        path.write_bytes(files['case.db'])
        values = dict(id=rng.randrange(1, 6), nested='['*200_000, blob=rng.randbytes(rng.choice([4, 9, 64])))
        statement = rng.choice(STATEMENTS)
        with closing(sqlite3.connect(path)) as held:
            held.execute(statement, values)
            held.commit()
        strict = not any(word in statement for word in ('data', 'key_value', 'information'))
        return {'case.db': path.read_bytes()}, strict

def rows_lost(rng, files): # zeros over a page of rows
    data = files['case.db']
    size = struct.unpack('>H', data[16:18])[0]
    page = rng.randrange(1, len(data)//size)
    return {'case.db': data[:page*size] + bytes(size) + data[(page + 1)*size:]}, True

def make_database(): return {'case.db': database()}


# ---- splits, caches, configurations, tables, weights

PARTS = dict(train=list(range(12)), validation=[12, 13], test=[14, 15, 16])

def read_split(path):
    from spherical_cnn.molecules.qm9 import Molecules, split_of
    import numpy as np
    few = Molecules(np.ones(17, 'int32'), np.zeros((17, 3)), np.ones(17, 'int32'), np.arange(17))
    return [part.tolist() for part in split_of(path, few)]

def judge_split(found, strict):
    if strict and found != list(PARTS.values()): return f'accepted {found}'
    places = sum(found, [])
    good = len(set(places)) == len(places) and set(places) <= set(range(17))
    return '' if good else 'accepted a molecule in two parts, or one that is not there'

def make_split(): return {'case.json': json.dumps(PARTS).encode()}

def split_value(rng, files):
    parts = json.loads(files['case.json'])
    part = rng.choice(list(parts))
    strange = [1.5, 12.0, True, None, '3', 10**23, -1, 17, [3], {}, parts['train'][3], float('nan'), float('inf')]
    parts[part][rng.randrange(len(parts[part]))] = rng.choice(strange)
    repeated = sum(parts.values(), [])
    strict = sorted(map(repr, repeated)) != sorted(map(repr, range(17)))
    return {'case.json': json.dumps(parts).encode()}, strict

def split_shape(rng, files):
    parts = json.loads(files['case.json'])
    shapes = [parts['train'], {}, parts | dict(more=[1]), {k: parts[k] for k in ('train', 'test')}, {'a': parts}, 5,
              None, 'text', *(parts | dict(test=value) for value in ([], {'14': 1}, 5, 'text'))]
    texts = [*map(json.dumps, shapes), '['*10**5, '{"a":'*10**5, '{"train": ' + '['*1000 + ']'*1000 + '}']
    return {'case.json': rng.choice(texts).encode()}, True

@cache
def cache_bytes():
    import numpy as np
    from spherical_cnn.molecules.qm9 import Molecules, write_cache
    held = Molecules(np.array([8, 1, 1, 2], 'int32'), np.arange(12.).reshape(4, 3), np.array([3, 1], 'int32'),
                     np.arange(2), dict(U0=np.array([-76.5, -2.5])), dict(U0='Ha'), ('water', 'helium'))
    with tempfile.TemporaryDirectory() as folder:
        write_cache(Path(folder)/'case.npz', held)
        return (Path(folder)/'case.npz').read_bytes()

def read_molecules_cache(path):
    from spherical_cnn.molecules.qm9 import read_cache
    found = read_cache(path)
    values = found.numbers, found.positions, found.counts, found.index, found.targets['U0']
    return [v.tolist() for v in values], found.units, found.names

def judge_cache(found, strict):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/'case.npz'
        path.write_bytes(cache_bytes())
        return '' if found == read_molecules_cache(path) else 'accepted other molecules than were written'

def zip_changed(rng, files):
    with zipfile.ZipFile(io.BytesIO(files['case.npz'])) as held: entries = {n: held.read(n) for n in held.namelist()}
    names = list(entries)
    one, two = rng.sample(names, 2)
    kind = rng.randrange(5)
    if kind == 0: entries[one], entries[two] = entries[two], entries[one]
    if kind == 1: del entries[one]
    if kind == 2: entries[one] = rng.choice(BYTEWISE)(rng, entries[one])
    if kind == 3: entries['target_G.npy'] = entries.pop('target_U0.npy')
    if kind == 4: entries[one] = entries[one].replace(b'(', b'(10000000000,')
    made = io.BytesIO()
    with zipfile.ZipFile(made, 'w') as held:
        for name, data in entries.items(): held.writestr(name, data)
    return {'case.npz': made.getvalue()}, True

def make_cache(): return {'case.npz': cache_bytes()}


@dataclass(frozen=True)
class Inner:
    width: int = 3
    rate: float = .5
    kind: Literal['a', 'b'] = 'a'

@dataclass(frozen=True)
class Outer:
    name: str = 'x'
    layers: tuple[tuple[int, int], ...] = ((1, 2), (3, 4))
    inner: Inner = field(default_factory=Inner)
    limit: float | None = None
    flag: bool = True

def read_configuration(path):
    from spherical_cnn.train.config import read_config
    return read_config(Outer, path)

def judge_configuration(found, strict):
    from spherical_cnn.train.config import from_dict, to_dict
    if strict and found != Outer(): return f'accepted {found}'
    return '' if from_dict(Outer, to_dict(found)) == found or 'nan' in repr(found) else 'it does not come back'

def make_configuration():
    from spherical_cnn.train.config import to_file_dict
    return {'case.json': json.dumps(to_file_dict(Outer()), indent=2).encode()}

def configuration_value(rng, files):
    held = json.loads(files['case.json'])
    where = rng.choice([held, held['inner']])
    name = rng.choice([*where, 'unknown'])
    strange = [[], {}, {'a': 1}, '\x1b[2J', 1.5, [[1]], [[1, 2, 3]], -1, 10**400, [None], {'width': True}, 'c']
    where[name] = rng.choice(strange)
    good = dict(name=(str,), limit=(float, int), rate=(float, int), width=(int,), inner=(dict,), layers=(list,))
    return {'case.json': json.dumps(held).encode()}, type(where[name]) not in good.get(name, ())

def configuration_shape(rng, files):
    held = json.loads(files['case.json'])
    formats = [json.dumps(held | dict(format=number)) for number in (99, None, True)]
    texts = [json.dumps([held]), 'null', '5', '"text"', '[]', '['*10**5, '{"inner": ' * 10**4, *formats]
    return {'case.json': rng.choice(texts).encode()}, True


def read_metrics(path):
    from spherical_cnn.train.records import read_rows
    return read_rows(path, ('epoch',))

METRICS = [dict(epoch=k, loss=1/(k + 1), seconds=1.5*k) for k in range(8)]

def judge_metrics(found, strict): return f'accepted {found[:2]}' if strict and found != METRICS else ''

def make_metrics():
    lines = ['epoch,loss,seconds', *(','.join(map(repr, row.values())) for row in METRICS)]
    return {'case.csv': ('\n'.join(lines) + '\n').encode()}

def metric_cell(rng, lines):
    lines[rng.randrange(len(lines) - 1)] += rng.choice([',', ',1', ',"', ','*1000])
    return True

def metric_twice(rng, lines):
    k = rng.randrange(1, len(lines) - 1)
    lines.insert(k, lines[k])
    return True

METRIC_LINES = tuple(partial(of_lines, change) for change in (metric_cell, metric_twice, csv_header, csv_cut))


@cache
def model():
    from flax import nnx
    return nnx.Linear(3, 4, rngs=nnx.Rngs(0))

@cache
def weights_bytes():
    from spherical_cnn.train.weights import save_weights
    with tempfile.TemporaryDirectory() as folder:
        save_weights(Path(folder)/'case.safetensors', model(), dict(a='b'))
        return (Path(folder)/'case.safetensors').read_bytes()

def read_weights(path):
    from flax import nnx
    from spherical_cnn.train.weights import load_weights
    held = nnx.Linear(3, 4, rngs=nnx.Rngs(1))
    load_weights(path, held)
    return held.kernel[...].tolist(), held.bias[...].tolist()

def judge_weights(found, strict):
    same = found == (model().kernel[...].tolist(), model().bias[...].tolist())
    return '' if same else 'accepted other weights than were written'

def weights_header(rng, files):
    data = files['case.safetensors']
    size = struct.unpack('<Q', data[:8])[0]
    text = data[8:8 + size].decode()
    swaps = [('F32', 'F16'), ('F32', 'F64'), ('F32', 'XX'), ('kernel', 'other'), ('[3,4]', '[4,3]'),
             ('[3,4]', '[3,4000000000]'), ('data_offsets', 'x'), ('4', '-4')]
    changed = rng.choice([*(text.replace(*swap) for swap in swaps), '['*10**5, '{}', text[:-20]])
    length = rng.choice([len(changed.encode()), len(changed.encode()), 2**63, 10**9, 0])
    return {'case.safetensors': struct.pack('<Q', length) + changed.encode() + data[8 + size:]}, True

def make_weights(): return {'case.safetensors': weights_bytes()}


# ---- all forms

def make_text(name, text, *args): return {name: text(*args).encode()}

def make_tar(name, pack): return {name: pack(tar_bytes(qm9_members()))}

FORMS = {
    'xyz': Form('case.xyz', partial(make_text, 'case.xyz', xyz_text), read_source, judge_molecules, XYZ),
    'extxyz': Form('case.extxyz', partial(make_text, 'case.extxyz', xyz_text, True), read_source, judge_molecules, XYZ),
    'gdb': Form('case.xyz', make_gdb, read_source, judge_one, GDB),
    'sdf': Form('case.sdf', make_sdf, read_source, judge_molecules, SDF),
    'csv': Form('case.sdf', make_sdf, read_source, judge_molecules, CSV, damaged='case.sdf.csv'),
    'db': Form('case.db', make_database, read_source, judge_molecules, (of_database,)*3 + (rows_lost,)),
    'split': Form('case.json', make_split, read_split, judge_split, (split_value, split_shape)),
    'cache': Form('case.npz', make_cache, read_molecules_cache, judge_cache, (zip_changed,), checked=True),
    'config': Form('case.json', make_configuration, read_configuration, judge_configuration,
                   (configuration_value, configuration_shape)),
    'metrics': Form('case.csv', make_metrics, read_metrics, judge_metrics, METRIC_LINES),
    'weights': Form('case.safetensors', make_weights, read_weights, judge_weights, (weights_header,)),
}
for name, pack, unpack in (('tar', same, same), ('tar.gz', small_gzip, gzip.decompress),
                           ('tar.bz2', bz2.compress, bz2.decompress), ('tar.xz', lzma.compress, lzma.decompress)):
    judge = partial(judge_molecules, late=name in ('tar.gz', 'tar.xz'))
    FORMS[name] = Form(f'case.{name}', partial(make_tar, f'case.{name}', pack), read_source, judge,
                       tuple(partial(of_tar, change, pack, unpack) for change in TAR), checked=name != 'tar')


# ---- in the process of a form

def words_of(change): # a function or a partial
    if not isinstance(change, partial): return change.__name__
    return ' '.join([change.func.__name__, *(words_of(a) for a in change.args if callable(a))])

def damaged(
    form, # Form
    seed, # text
): # files, whether damage must be noticed, words
    "One case; the first is not damaged."
    rng, files = random.Random(seed), form.make()
    if seed.endswith(' 0'): return files, True, 'nothing'
    if form.structural and rng.random() < .5:
        change = rng.choice(form.structural)
        changed, strict = change(rng, files)
        return changed, strict and changed != files, words_of(change)
    change, name = rng.choice(BYTEWISE), form.damaged or form.file
    return files | {name: change(rng, files[name])}, form.checked, change.__name__

def examine(
    form, # Form
    folder, # to write in
    seed, # text
): # what happened: 'accepted', 'refused', or words for a failure
    "One case, read within the time."
    files, strict, how = damaged(form, seed)
    for name, data in files.items(): (folder/name).write_bytes(data)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        found = form.read(folder/form.file)
        said = form.judge(found, strict)
        refused = form.read is read_source and found[1]
        if refused and how == 'nothing': said = f'it is refused as it is: {found[1][0]}'
        return f'{how}: {said}' if said else 'refused' if refused else 'accepted'
    except OutOfTime: return f'{how}: more than {SECONDS} s'
    except Exception as error:
        said = unclear(error) or (how == 'nothing' and f'it is refused as it is: {error}')
        return f'{how}: {said}' if said else 'refused'
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        for name in files: (folder/name).unlink()

def out_of_time(*_): raise OutOfTime

def run_cases(
    name, # of a form
    first, # number of the first case
    last, # number behind the last
    report, # Connection: gets (number, None) before a case, (number, what happened) after it
):
    "The process of a form."
    warnings.simplefilter('ignore')
    os.environ.setdefault('JAX_PLATFORMS', 'cpu')
    signal.signal(signal.SIGPROF, out_of_time)
    form = FORMS[name]
    with tempfile.TemporaryDirectory() as folder:
        os.environ['SPHERICAL_CNN_CACHE'] = f'{folder}/cache'
        for k in range(first, last):
            report.send((k, None))
            what = examine(form, Path(folder), f'{name} {k}')
            if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*1024 > MEMORY: what = f'more than {MEMORY/1e9:g} GB'
            report.send((k, what))


# ---- in the parent

def memory(
    pid, # of a process
): # bytes that it holds
    try: return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError): return 0

def watch(
    name, # of a form
    first, # number of the first case
    last, # number behind the last
): # dict of number -> what happened, until the end or until a case was stopped
    "One process, stopped when a case takes too much memory or only waits."
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=run_cases, args=(name, first, last, theirs))
    process.start()
    theirs.close()
    done, at, since, wrong = {}, first, time.monotonic(), 'the process died'
    while True:
        try:
            while ours.poll(.02):
                at, what = ours.recv()
                since = time.monotonic()
                if what: done[at] = what
        except EOFError: break
        if memory(process.pid) > MEMORY: wrong = f'more than {MEMORY/1e9:g} GB'
        elif time.monotonic() - since > PATIENCE: wrong = f'nothing happened for {PATIENCE} s'
        else: continue
        process.kill()
        break
    process.join()
    if at not in done: done[at] = wrong
    return done

def fuzz(
    name, # of a form
    first, # number of the first case
    cases, # how many
): # list of (number, words), one for each failure
    "All cases of a form; prints a line."
    done, began = {}, time.monotonic()
    for _ in range(20): # processes, of which each ends at the first case that has to be stopped
        if len(done) < cases: done |= watch(name, first + len(done), first + cases)
    done |= {k: 'not run, too many had to be stopped' for k in range(first + len(done), first + cases)}
    failed = [(k, what) for k, what in sorted(done.items()) if what not in ('accepted', 'refused')]
    refused, accepted = (list(done.values()).count(what) for what in ('refused', 'accepted'))
    print(f'{name:8} {cases:5} cases, {refused:5} refused, {accepted:5} accepted, {len(failed):4} failures, '
          f'{time.monotonic() - began:4.0f} s', flush=True)
    return failed

def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('forms', nargs='*', help=f"{' '.join(FORMS)}; all by default")
    parser.add_argument('--cases', type=int, default=1000, help='of each form (1000)')
    repeat = 'number of the first case: `--first 17 --cases 1 xyz` repeats one'
    parser.add_argument('--first', type=int, default=0, help=repeat)
    args = parser.parse_args()
    unknown = [name for name in args.forms if name not in FORMS]
    if unknown: parser.error(f"unknown form {unknown[0]}, expected {' '.join(FORMS)}")
    names = args.forms or list(FORMS)
    with ThreadPoolExecutor(2) as pool: failed = list(pool.map(lambda name: fuzz(name, args.first, args.cases), names))
    for name, failures in zip(names, failed):
        for k, what in failures[:10]: print(f'{name} case {k}: {what}')
        if len(failures) > 10: print(f'{name}: and {len(failures) - 10} more')
    return bool(sum(failed, []))


if __name__ == '__main__': sys.exit(main())
