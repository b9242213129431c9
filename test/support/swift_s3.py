#!/usr/bin/env python3
"""One-process OpenStack Swift with its S3 API, on loopback, for tests.

It needs Debian's python3-swift and libisal2 (without the latter no CRC32C is verified). A newer Swift may be put before
the installed one with PYTHONPATH. When it is ready it prints one line of JSON: endpoint, version, dir.
"""
import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback

import eventlet

eventlet.monkey_patch()  # before anything else imports socket or threading

import eventlet.hubs
import eventlet.wsgi

import swift
from swift.common import utils
from swift.common.ring import RingBuilder
from swift.common.storage_policy import reload_storage_policies
from swift.common.utils import NullLogger
from swift.common.wsgi import loadapp

try:
    from swift.common.http_protocol import SwiftHttpProtocol
except ImportError:  # Swift before 2.31
    from swift.common.wsgi import SwiftHttpProtocol

SWIFT_CONF = '''
[swift-hash]
swift_hash_path_suffix = localtests
[storage-policy:0]
name = one
default = yes
'''

BACKEND_CONF = '''
[DEFAULT]
devices = {dir}/nodes
mount_check = false
swift_dir = {dir}
log_level = ERROR
disable_fallocate = true
bind_port = {port}
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
mb_per_sync = 0
'''

PROXY_CONF = '''
[DEFAULT]
swift_dir = {dir}
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
object_chunk_size = 1048576
client_chunk_size = 1048576
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:9
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = {region}
auth_pipeline_check = false
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
[filter:dlo]
use = egg:swift#dlo
'''


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--port', type=int, default=9000, help='0: any free port')
    parser.add_argument('--dir', help='keep everything here; without it: a temporary folder, removed at the end')
    parser.add_argument('--access-key', default='test:tester', help='account:user')
    parser.add_argument('--secret', default='testing')
    parser.add_argument('--region', default='us-east-1')
    parser.add_argument('--until-stdin-closes', action='store_true', help='stop when the parent process is gone')
    return parser.parse_args()


def listen(port=0):
    return eventlet.listen(('127.0.0.1', port), backlog=128)


def serve(sock, app):
    eventlet.wsgi.server(sock, app, NullLogger(), protocol=SwiftHttpProtocol, capitalize_response_headers=False)


def write(directory, name, template, **values):
    path = os.path.join(directory, name)
    with open(path, 'w') as file:
        file.write(template.format(**values))
    return path


def write_ring(directory, kind, port):
    """A ring of one device: every account, container and object lives on the one backend at that port."""
    ring = RingBuilder(2, 1, 0)
    ring.add_dev({
        'id': 0, 'region': 1, 'zone': 1, 'device': 'd1', 'weight': 1.0,
        'ip': '127.0.0.1', 'port': port, 'replication_ip': '127.0.0.1', 'replication_port': port,
    })
    ring.rebalance()
    ring.get_ring().save(os.path.join(directory, kind + '.ring.gz'))


def start_backends(directory):
    """All rings first: a backend may look at the others' when it starts."""
    socks = {kind: listen() for kind in ('account', 'container', 'object')}
    for kind, sock in socks.items():
        write_ring(directory, kind, sock.getsockname()[1])
    for kind, sock in socks.items():
        conf = write(directory, kind + '.conf', BACKEND_CONF, dir=directory, kind=kind, port=sock.getsockname()[1])
        eventlet.spawn(serve, sock, loadapp(conf, global_conf={'log_requests': 'false'}))


def start_proxy(directory, arguments):
    account, user = arguments.access_key.split(':')
    conf = write(directory, 'proxy.conf', PROXY_CONF, dir=directory, region=arguments.region,
                 account=account, user=user, secret=arguments.secret)
    sock = listen(arguments.port)
    eventlet.spawn(serve, sock, loadapp(conf))
    return sock.getsockname()[1]


def wait_for_end_of_stdin():
    while True:
        eventlet.hubs.trampoline(sys.stdin.fileno(), read=True)
        if not os.read(sys.stdin.fileno(), 4096):
            return


def start(directory, arguments):
    os.makedirs(os.path.join(directory, 'nodes', 'd1'), exist_ok=True)
    write(directory, 'swift.conf', SWIFT_CONF)
    utils.set_swift_dir(directory)
    reload_storage_policies()
    start_backends(directory)
    port = start_proxy(directory, arguments)
    print(json.dumps({'endpoint': f'http://127.0.0.1:{port}', 'version': swift.__version__, 'dir': directory}), flush=True)


def main():
    arguments = parse_arguments()
    directory = arguments.dir or tempfile.mkdtemp(prefix='swift-s3-')

    def leave(*_, status=0):
        if not arguments.dir:
            shutil.rmtree(directory, ignore_errors=True)
        os._exit(status)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)

    try:
        start(directory, arguments)
    except BaseException:
        traceback.print_exc()
        leave(status=1)
    if arguments.until_stdin_closes:
        wait_for_end_of_stdin()
        leave()
    while True:
        eventlet.sleep(3600)


if __name__ == '__main__':
    main()
