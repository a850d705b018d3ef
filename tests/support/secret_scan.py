"""Looks for secrets where none may be: files, directories of them, and texts.

    found = scan([directory, file], {'password of the source': 'hunter2'}, texts={'status': output})

Returns a list of lines "what: where: the text around it"; empty is good. Files are read as bytes, so that core files and
databases are as good as logs. A password is looked for as it is, as it stands in a URL, in JSON and in base64.
By hand: secret_scan.py NAME=VALUE... -- PATH...
"""
import base64, json, os, sys, urllib.parse

CHUNK, OVERLAP = 1 << 20, 4096


def forms(secret):
    """The ways in which a secret may be written down, as bytes."""
    raw = secret.encode()
    return {raw, urllib.parse.quote(secret, safe='').encode(), json.dumps(secret)[1:-1].encode(), base64.b64encode(raw).rstrip(b'=')}


def around(data, at, length):
    return data[max(0, at - 60):at + length + 60]


def search(stream, wanted, where, found):
    before = b''
    while True:
        data = stream.read(CHUNK)
        if not data:
            return
        window = before + data
        for name, pieces in wanted.items():
            for piece in pieces:
                at = window.find(piece)
                if at >= 0:
                    found.append(f'{name}: {where}: {around(window, at, len(piece))!r}')
        before = window[-OVERLAP:]


def files(path):
    if not os.path.isdir(path):
        return [path]
    return [os.path.join(base, name) for base, _, names in os.walk(path) for name in names]


def scan(paths, secrets, texts=None, leave_out=()):
    """paths: files and directories. secrets: {what: secret}. texts: {where: str or bytes}. leave_out: files that hold secrets by their nature."""
    import io
    wanted, found = {what: forms(secret) for what, secret in secrets.items() if secret}, []
    skip = {os.path.realpath(p) for p in leave_out}
    for path in paths:
        for file in files(path):
            if os.path.realpath(file) in skip or not os.path.isfile(file):
                continue
            with open(file, 'rb') as f:
                search(f, wanted, file, found)
    for where, text in (texts or {}).items():
        search(io.BytesIO(text if isinstance(text, bytes) else text.encode()), wanted, where, found)
    return list(dict.fromkeys(found))


if __name__ == '__main__':
    middle = sys.argv.index('--')
    lines = scan(sys.argv[middle + 1:], dict(a.split('=', 1) for a in sys.argv[1:middle]))
    print('\n'.join(lines) or 'none found')
    sys.exit(1 if lines else 0)
