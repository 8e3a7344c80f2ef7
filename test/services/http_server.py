# test/services/http_server.py
#	  The HTTP server of tests: records requests, and fails on request.
#
# usage: http_server.py PORT DIR webhook|bulk|clickhouse|api clear|tls|client-tls TEMPORARY
#
# Every request that is taken is a line of JSON in DIR/requests: method, path, headers (names
# in lower case), body, number. It is written before the answer is sent, so that what was
# acknowledged is there after a kill -9.
#
# DIR/faults is a list in JSON, read for each request, of what is to happen to the next
# ones. A fault is used up when it has happened "times" (1); "path" and "method" say which
# requests it waits for. It has "status", "headers", "body" for an answer instead of the
# true one, or "do":
#
#   slow      answers after "seconds"
#   cut       takes nothing and closes the connection
#   forget    takes the request and closes the connection
#   half      takes the request and closes the connection in the middle of the answer
#   huge      answers with "bytes" of body
#   garbage   answers with what is not HTTP
#   limit     answers 413 to bodies longer than "bytes"; never used up
#   item      bulk: "status", "type" and "reason" for the document "id"
#
#   endless     never stops to answer
#   drip        a byte of the answer every tenth of a second, without an end
#
# DIR/documents has the documents of mode bulk after each request.
#
# DIR/api is what mode api serves, read for each request: by path, a hash of
#
#   rows        list of objects
#   wrap        names on the way to the rows in the answer, as ["data", "items"]
#   pages       link, page, offset or cursor; without, all rows are in one answer
#   size        rows of a page (2), whatever was asked for
#   token       what the tokens of pages by cursor begin with ("c")
#   since       [parameter, member]: only rows whose member is not before the parameter
#   after       the same, only rows whose member is behind it
#   type        json (the default), ndjson, csv, or any other Content-Type for "raw"
#   raw         the body, instead of rows
#   etag        true: answers 304 to If-None-Match
#   modified    the same by If-Modified-Since
#   gzip        true: compressed, if the client takes that
#   file        true: the body is a file that was compressed by gzip; "cut" bytes of it are missing
#   bomb        bytes of zeros that the answer is compressed of
#   login       "user:password", "Bearer token", or "oauth": see /token
#   header      [name, value] that the request must have
#   parameter   the same for the query
#
# POST /token gives tokens by OAuth 2.0 to client "hub" with secret "s3cret"; "expires" of the
# hash for /token is how long they last, "body" that the client logs in there.

import base64
import csv
import gzip
import hashlib
import io
import json
import os
import socket
import ssl
import struct
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, folder, mode, tls = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
lock = threading.RLock()
used = {}


def path_of(name):
    return os.path.join(folder, name)


def read_json(name, default):
    try:
        with open(path_of(name), encoding='utf-8') as file:
            return json.load(file)
    except FileNotFoundError:
        return default


def write_json(name, value):
    with open(path_of(name + '.new'), 'w', encoding='utf-8') as file:
        json.dump(value, file)
    os.rename(path_of(name + '.new'), path_of(name))


def next_fault(method, path, kind):
    """The first fault for the request that is not used up."""
    with lock:
        for fault in read_json('faults', []):
            identity = fault.get('name') or json.dumps(fault, sort_keys=True)
            if (fault.get('do') == 'item') != (kind == 'item'):
                continue
            if not path.startswith(fault.get('path', '')) or fault.get('method', method) != method:
                continue
            if kind == 'item' or fault.get('do') == 'limit':
                return fault
            if used.get(identity, 0) >= fault.get('times', 1):
                continue
            used[identity] = used.get(identity, 0) + 1
            return fault
    return None


class Bulk:
    """What Elasticsearch's documentation and a recorded OpenSearch 2.19 say of _bulk."""

    def __init__(self):
        self.documents = read_json('documents', {})
        self.used = {}

    def fault(self, identity):
        for fault in read_json('faults', []):
            if fault.get('do') == 'item' and fault['id'] == identity:
                name = json.dumps(fault, sort_keys=True)
                if self.used.get(name, 0) < fault.get('times', 1):
                    self.used[name] = self.used.get(name, 0) + 1
                    return fault
        return None

    def item(self, action, target, source):
        key = target['_index'] + '/' + target['_id']
        fault = self.fault(target['_id'])
        if fault:
            return {'status': fault['status'],
                    'error': {'type': fault.get('type', 'error'), 'reason': fault.get('reason', '')}}
        known = self.documents.get(key, {'version': -1, 'source': None})
        if target['version'] < known['version']:
            return {'status': 409, 'error': {
                'type': 'version_conflict_engine_exception',
                'reason': f'[{target["_id"]}]: version conflict, current version [{known["version"]}]'
                          f' is higher than the one provided [{target["version"]}]'}}
        self.documents[key] = {'version': target['version'], 'source': source}
        if action == 'delete':
            return {'status': 200 if known['source'] is not None else 404}
        return {'status': 200 if known['source'] is not None else 201}

    def bulk(self, body):
        lines = body.decode('utf-8').split('\n')
        if lines.pop() != '':
            return 400, '{"error":{"type":"illegal_argument_exception","reason":"The bulk request ' \
                        'must be terminated by a newline [\\n]"},"status":400}'
        items = []
        while lines:
            (action, target), = json.loads(lines.pop(0)).items()
            assert target['version_type'] == 'external_gte'
            source = None if action == 'delete' else json.loads(lines.pop(0))
            items.append({action: self.item(action, target, source)})
        write_json('documents', self.documents)
        return 200, json.dumps({'took': 1, 'items': items})

    def answer(self, method, path, body):
        name = path.split('?')[0]
        if name == '/':
            return 200, '{"cluster_name":"contract","version":{"distribution":"opensearch","number":"2.19.1"}}'
        if name == '/_bulk':
            return self.bulk(body)
        return 200, '{}'


class ClickHouse:
    """ClickHouse's engine; of its HTTP interface what the connector uses."""

    def __init__(self):
        from chdb import session
        self.session = session.Session(path_of('clickhouse'))

    def answer(self, method, path, body):
        parameters = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query, keep_blank_values=True)
        query = parameters.pop('query', [''])[0]
        statement = body.decode('utf-8')
        settings = ', '.join(f"{name} = '{value[0]}'" for name, value in parameters.items()
                             if name not in ('database', 'wait_end_of_query', 'user', 'password'))
        if query:
            query = query.replace(' FORMAT', f' SETTINGS {settings} FORMAT', 1) if settings else query
            statement = query + '\n' + statement
        try:
            database = parameters.get('database', ['default'])[0]
            self.session.query('USE `' + database.replace('`', '\\`') + '`')
            return 200, self.session.query(statement, 'TabSeparatedRaw').bytes().decode('utf-8', 'replace')
        except Exception as error:
            return self.failed(str(error))

    @staticmethod
    def failed(text):
        code = 1002
        if 'Code: ' in text:
            code = int(text.split('Code: ', 1)[1].split('.')[0])
        status = {81: 404, 60: 404, 47: 404, 62: 400, 6: 400, 27: 400, 38: 400, 41: 400, 53: 400,
                  69: 400, 72: 400, 117: 400}.get(code, 500)
        return status, text, {'X-ClickHouse-Exception-Code': str(code)}


class Api:
    """Endpoints that are read."""

    def __init__(self):
        self.tokens = {}

    def token(self, routes, body, headers):
        route = routes.get('/token', {})
        form = {name: value[0] for name, value in urllib.parse.parse_qs(body.decode()).items()}
        login = headers.get('Authorization', '')
        if route.get('body'):
            good = form.get('client_id') == 'hub' and form.get('client_secret') == 's3cret'
        else:
            good = login == 'Basic ' + base64.b64encode(b'hub:s3cret').decode()
        if not good or form.get('grant_type') != 'client_credentials':
            return 401, '{"error": "invalid_client"}'
        token = f'token-{len(self.tokens) + 1}'
        self.tokens[token] = time.time() + route.get('expires', 3600)
        return 200, json.dumps({'access_token': token, 'token_type': 'Bearer',
                                'expires_in': route.get('says', route.get('expires', 3600))}), {
                                    'Content-Type': 'application/json'}

    def refused(self, route, headers, parameters):
        login = headers.get('Authorization', '')
        wanted = route.get('login')
        if wanted == 'oauth':
            token = login.removeprefix('Bearer ')
            if self.tokens.get(token, 0) < time.time():
                return 401, 'the token is not valid'
        elif wanted and wanted.startswith('Bearer '):
            if login != wanted:
                return 401, 'another token, please'
        elif wanted and login != 'Basic ' + base64.b64encode(wanted.encode()).decode():
            return 401, 'who are you?'
        if 'header' in route and headers.get(route['header'][0]) != route['header'][1]:
            return 403, 'a header is missing'
        if 'parameter' in route and parameters.get(route['parameter'][0]) != route['parameter'][1]:
            return 403, 'a parameter is missing'
        return None

    @staticmethod
    def page(route, path, parameters, rows):
        """Rows of the page, members and headers that lead to the next one."""
        style, size, token = route.get('pages'), route.get('size', 2), route.get('token', 'c')
        if style == 'page':
            start = (int(parameters.get('page', 1)) - 1) * size
        elif style == 'offset':
            start = int(parameters.get('offset', 0))
        elif style == 'cursor':
            start = int(parameters.get('cursor', token + '0')[len(token):])
        elif style == 'link':
            start = int(parameters.get('start', 0))
        else:
            return rows, {}, {}
        shown, members, headers = rows[start:start + size], {}, {}
        if start + size < len(rows):
            members['next'] = f'{token}{start + size}'
            query = urllib.parse.urlencode({**parameters, 'start': start + size})
            headers['Link'] = f'<{path}?{query}>; rel="next", <{path}>; rel="first"'
        members['has_more'] = start + size < len(rows)
        return shown, members, headers

    @staticmethod
    def body(route, rows, members):
        kind = route.get('type', 'json')
        if 'raw' in route:
            return route['raw'], kind
        if kind == 'ndjson':
            return ''.join(json.dumps(row, ensure_ascii=False) + '\n' for row in rows), 'application/x-ndjson'
        if kind == 'csv':
            out = io.StringIO()
            names = list(rows[0]) if rows else ['id']
            writer = csv.DictWriter(out, names)
            writer.writeheader()
            writer.writerows(rows)
            return out.getvalue(), 'text/csv; charset=utf-8'
        content = rows
        for name in reversed(route.get('wrap', [])):
            content = {name: content}
        if isinstance(content, dict):
            content.update(members)
        return json.dumps(content, ensure_ascii=False), 'application/json'

    def answer(self, method, path, body, headers):
        routes = read_json('api', {})
        name, _, query = path.partition('?')
        parameters = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if name == '/token':
            return self.token(routes, body, headers)
        route = routes.get(name)
        if route is None:
            return 404, '{"error": "there is no such endpoint"}'
        refused = self.refused(route, headers, parameters)
        if refused:
            return refused
        if 'bomb' in route:
            return 200, gzip.compress(b'[' + b' ' * route['bomb'] + b']'), {
                'Content-Type': 'application/json', 'Content-Encoding': 'gzip'}
        rows = route.get('rows', [])
        for key in ('since', 'after'):
            if key in route and route[key][0] in parameters:
                limit = type(rows[0][route[key][1]])(parameters[route[key][0]]) if rows else None
                rows = [row for row in rows if row[route[key][1]] > limit or
                        (key == 'since' and row[route[key][1]] == limit)]
        rows, members, answered = self.page(route, name, parameters, rows)
        text, kind = self.body(route, rows, members)
        answered['Content-Type'] = 'application/json' if kind == 'json' else kind
        tag = '"' + hashlib.sha256(text.encode('utf-8', 'surrogateescape')).hexdigest()[:16] + '"'
        if route.get('etag'):
            answered['ETag'] = tag
            if headers.get('If-None-Match') == tag:
                return 304, '', answered
        if 'modified' in route:
            answered['Last-Modified'] = route['modified']
            if headers.get('If-Modified-Since') == route['modified']:
                return 304, '', answered
        data = text.encode('utf-8', 'surrogateescape')
        if route.get('gzip') and 'gzip' in headers.get('Accept-Encoding', ''):
            answered['Content-Encoding'] = 'gzip'
            data = gzip.compress(data)
        if route.get('file'):
            data = gzip.compress(data)
            data = data[:len(data) - route.get('cut', 0)]
        return 200, data, answered


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, format, *arguments):
        sys.stderr.write(f'{self.command} {self.path} {format % arguments}\n')

    def record(self, body):
        line = json.dumps({
            'method': self.command, 'path': self.path, 'body': body.decode('utf-8', 'surrogateescape'),
            'sha': hashlib.sha256(body).hexdigest(), 'at': time.time(),
            'headers': {name.lower(): value for name, value in self.headers.items()}})
        with lock, open(path_of('requests'), 'a', encoding='utf-8', errors='surrogateescape') as file:
            file.write(line + '\n')

    def respond(self, status, text, headers=None):
        data = text if isinstance(text, bytes) else text.encode('utf-8')
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(data)

    def cut(self):
        """Without a word, as when the host died: a reset."""
        self.wfile.flush()
        sock = self.connection
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        self.close_connection = True
        sock.close()
        self.rfile = self.wfile = open(os.devnull, 'r+b')

    def half(self):
        self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf of it')
        self.cut()

    def true_answer(self, body):
        if target is None:
            self.respond(200, '')
            return
        with lock:
            answer = self.target_answer(body)
        self.respond(*answer)

    def target_answer(self, body):
        more = [self.headers] if mode == 'api' else []
        return target.answer(self.command, self.path, body, *more)

    def endless(self, pause):
        self.wfile.write(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[')
        try:
            while True:
                self.wfile.write(b' ' if pause else b' ' * 65536)
                self.wfile.flush()
                time.sleep(pause)
        except OSError:
            self.close_connection = True

    def fail(self, fault, body):
        """What a fault does; true when that was all."""
        kind = fault.get('do')
        if kind == 'slow':
            time.sleep(fault['seconds'])
            return False
        if kind == 'limit':
            if len(body) <= fault['bytes']:
                return False
            self.respond(413, 'too large')
            return True
        if kind in ('forget', 'half'):
            self.record(body)
            if target is not None:
                with lock:
                    self.target_answer(body)
        if kind in ('cut', 'forget'):
            self.cut()
        elif kind == 'half':
            self.half()
        elif kind in ('endless', 'drip'):
            self.endless(0.1 if kind == 'drip' else 0)
        elif kind == 'garbage':
            self.wfile.write(b'\x00\x01 this is no HTTP at all\r\n\r\n')
            self.cut()
        elif kind == 'huge':
            self.record(body)
            self.respond(fault.get('status', 200), 'x' * fault['bytes'])
        else:
            self.respond(fault['status'], fault.get('body', ''), fault.get('headers'))
        return True

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        fault = next_fault(self.command, self.path, 'request')
        if fault and self.fail(fault, body):
            return
        if self.command != 'HEAD':
            self.record(body)
        self.true_answer(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_request


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, ssl.SSLError, ValueError)):
            super().handle_error(request, client_address)


target = {'webhook': lambda: None, 'bulk': Bulk, 'clickhouse': ClickHouse, 'api': Api}[mode]()
server = Server(('127.0.0.1', port), Handler)
if tls != 'clear':
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path_of('tls/server.crt'), path_of('tls/server.key'))
    if tls == 'client-tls':
        context.load_verify_locations(path_of('tls/ca.pem'))
        context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
