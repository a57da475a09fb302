#!/usr/bin/env python3
"""Records what HashiCorp's agents say to each other on the loopback interface.

    sudo python3 record.py [flags of `serf agent`] > corpus.txt

Runs four agents of /usr/bin/serf through joins, events, queries, tag changes, a pause, a crash,
force-leave, prune and leave, and prints what was seen for the first few times of each kind, one
line each: `message`, `datagram` or `stream`, and the bytes in hexadecimal.
"""

import signal
import socket
import struct
import subprocess
import sys
import threading
import time

NET = "127.201.7."
EACH = 3
EACH_STREAM = 20


class Recorder(threading.Thread):
    """Listens to all of the loopback interface; keeps payloads of UDP and directions of TCP."""

    def __init__(self):
        super().__init__()
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.bind(("lo", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
        self.socket.settimeout(0.2)
        self.over = False
        self.datagrams = []
        self.streams = []

    def run(self):
        while not self.over:
            try:
                frame, at = self.socket.recvfrom(70000)
            except socket.timeout:
                continue
            # Every packet is seen twice on the loopback interface: going out and coming in.
            if at[2] != socket.PACKET_OUTGOING and frame[12:14] == b"\x08\x00":
                self.packet(frame[14:])

    def packet(self, ip):
        ip = ip[: struct.unpack(">H", ip[2:4])[0] or None]
        addresses = socket.inet_ntoa(ip[12:16]), socket.inet_ntoa(ip[16:20])
        body = ip[(ip[0] & 15) * 4 :]
        ports = struct.unpack(">HH", body[:4])
        if 7946 not in ports or not any(a.startswith(NET) for a in addresses):
            return
        if ip[9] == socket.IPPROTO_UDP:
            self.datagrams.append(body[8:])
        elif ip[9] == socket.IPPROTO_TCP:
            self.segment((addresses, ports), body)

    def segment(self, key, tcp):
        sequence = struct.unpack(">I", tcp[4:8])[0]
        data = tcp[(tcp[12] >> 4) * 4 :]
        if tcp[13] & 2:
            self.streams.append([key, sequence + 1, bytearray()])
        for stream in reversed(self.streams):
            if stream[0] == key:
                if data and stream[1] == sequence:
                    stream[1] = (sequence + len(data)) & 0xFFFFFFFF
                    stream[2] += data
                return


def scenario(extra):
    agents = {}

    def agent(n, *flags):
        command = ["/usr/bin/serf", "agent", f"-node=h{n}", f"-bind={NET}{n}:7946"]
        command += [f"-rpc-addr={NET}{n}:7373", "-event-handler=query:load=echo up", *flags, *extra]
        agents[n] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    def serf(n, command, *arguments):
        full = ["/usr/bin/serf", command, f"-rpc-addr={NET}{n}:7373", *arguments]
        subprocess.run(full, stdout=subprocess.DEVNULL, timeout=40, check=True)

    agent(1, "-tag", "role=web", "-tag", "dc=east")
    time.sleep(1)
    for n in (2, 3, 4):
        agent(n, f"-join={NET}1:7946", "-tag", "role=db")
    time.sleep(2)
    serf(1, "event", "deploy", "payload")
    serf(2, "event", "-coalesce=false", "plain")
    serf(2, "event", "long", "x" * 300)
    serf(1, "query", "-timeout=1s", "-node=h2", "-node=h3", "load", "now")
    serf(2, "query", "-timeout=1s", "-tag", "role=w.*", "load")
    serf(3, "query", "-timeout=1s", "-no-ack", "load")
    serf(3, "query", "-timeout=1s", "-relay-factor=2", "load")
    serf(4, "tags", "-set", "extra=1")
    serf(2, "join", f"{NET}1:7946")
    # A pause long enough for indirect pings, nacks, TCP pings and a suspicion.
    agents[4].send_signal(signal.SIGSTOP)
    time.sleep(3.5)
    agents[4].send_signal(signal.SIGCONT)
    time.sleep(3)
    agents[3].kill()
    time.sleep(9)
    serf(1, "force-leave", "h3")
    time.sleep(1)
    serf(2, "join", f"{NET}1:7946")
    serf(1, "force-leave", "-prune", "h3")
    serf(4, "leave")
    time.sleep(1)
    serf(2, "join", f"{NET}1:7946")
    # Something that is refused, for the message that says so.
    with socket.create_connection((NET + "1", 7946)) as stream:
        stream.sendall(b"\x0a\x00\x00\x00\x10" + b"x" * 40)
        stream.settimeout(2)
        stream.recv(1000)
    time.sleep(1)
    for process in agents.values():
        process.kill()
        process.wait()


def messages(datagram):
    """The messages in a datagram; what is compressed stays so."""
    if datagram[0] == 12:
        yield from messages(datagram[5:])
    elif datagram[0] == 7:
        start = 2 + 2 * datagram[1]
        for i in range(datagram[1]):
            end = start + int.from_bytes(datagram[2 + 2 * i : 4 + 2 * i], "big")
            yield datagram[start:end]
            start = end
    else:
        yield datagram


def kind(message):
    """The type of a message and the names in it, so that records of each shape are kept."""
    names = [n for n in (b"Filters\xc0", b"Expr", b"Payload\xc0", b"Prune\xc3") if n in message]
    return (message[: 2 if message[0] == 8 else 1], *names)


def main():
    recorder = Recorder()
    recorder.start()
    try:
        scenario(sys.argv[1:])
    finally:
        recorder.over = True
        recorder.join()
    seen = {}

    def show(label, key, data, most=EACH):
        known = seen.setdefault((label, key), set())
        if len(known) < most and bytes(data) not in known:
            known.add(bytes(data))
            print(label, bytes(data).hex())

    for datagram in recorder.datagrams:
        parts = list(messages(datagram))
        for message in parts:
            show("message", kind(message), message)
        show("datagram", (datagram[0], len(parts) > 1, parts[0][0] == 9), datagram)
    for _, _, data in recorder.streams:
        # Not what this script said itself.
        if data and data[0] != 10:
            show("stream", data[0], data, EACH_STREAM)


main()
