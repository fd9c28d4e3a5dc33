"""The network, loopback, sockets: nothing outside the sandbox answers.

"wall fell" is printed where something does.
"""

from autograder.tests.attacks.desk import Desk, attack

TRIED = "tried all"
CONNECT = """
import socket


def reach(family, address, kind=socket.SOCK_STREAM):
    try:
        with socket.socket(family, kind) as line:
            line.settimeout(1)
            line.connect(address)
            print("wall", "fell: reached", address)
            tell(line.recv(1000))
    except OSError as error:
        print(type(error).__name__)
"""


@attack(shows=TRIED)
def internet(desk: Desk) -> None:
    """Public servers, by their numbers."""
    desk.spy(CONNECT + """
for address in ("1.1.1.1", "8.8.8.8", "93.184.216.34"):
    for port in (53, 80, 443):
        reach(socket.AF_INET, (address, port))
reach(socket.AF_INET6, ("2606:4700:4700::1111", 443))
""")  # fmt: skip


@attack(shows=TRIED)
def names_of_hosts(desk: Desk) -> None:
    """A name is looked up, which would carry a message out even where connections are refused."""
    desk.spy("""
        import socket
        for name in ("example.org", "a-message.example.org"):
            try:
                print("wall", "fell: resolved", socket.getaddrinfo(name, 80))
            except OSError as error:
                print(type(error).__name__)
        """)  # fmt: skip


@attack(shows=TRIED)
def loopback(desk: Desk) -> None:
    """A server of this machine on 127.0.0.1 tells a secret to whoever connects."""
    desk.spy(CONNECT + """
reach(socket.AF_INET, ("127.0.0.1", <PORT>))
reach(socket.AF_INET6, ("::1", <PORT>))
reach(socket.AF_INET, ("0.0.0.0", <PORT>))
""")  # fmt: skip


@attack(shows=TRIED)
def ports(desk: Desk) -> None:
    """All ports of this machine that a database, a scheduler or a notebook server may have."""
    desk.spy(CONNECT + """
for port in (22, 80, 443, 3306, 5432, 6379, 8080, 8786, 8787, 8888, 8889, 9000):
    reach(socket.AF_INET, ("127.0.0.1", port))
""")  # fmt: skip


@attack(shows=TRIED)
def abstract_socket(desk: Desk) -> None:
    """A Unix socket without a file, which no mount can hide, tells a secret to whoever connects."""
    desk.spy(CONNECT + """
reach(socket.AF_UNIX, "\\0<ABSTRACT>")
""")  # fmt: skip


@attack(shows=TRIED)
def sockets_of_the_system(desk: Desk) -> None:
    """Unix sockets of the system: Docker, D-Bus, X11, the system log, every one that is listed."""
    desk.spy(CONNECT + """
import glob
listed = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines()[1:] if "/" in line or "@" in line]
for path in ["/var/run/docker.sock", "/run/dbus/system_bus_socket", "/dev/log", *glob.glob("/tmp/.X11-unix/*"), *listed]:
    reach(socket.AF_UNIX, path.replace("@", "\\0"))
""")  # fmt: skip


@attack(shows=TRIED)
def interfaces(desk: Desk) -> None:
    """The list of network interfaces shows none but loopback; raw sockets and packet sockets are refused."""
    desk.spy("""
        import socket
        others = [name for _, name in socket.if_nameindex() if name != "lo"]
        if [name for name in others if Path(f"/sys/class/net/{name}").exists()] or "eth0" in others:
            print("wall", "fell:", others)
        for family, kind in ((socket.AF_INET, socket.SOCK_RAW), (socket.AF_PACKET, socket.SOCK_RAW)):
            try:
                socket.socket(family, kind, socket.IPPROTO_ICMP).close()
                print("wall", "fell: raw socket")
            except OSError as error:
                print(error.strerror)
        """)  # fmt: skip


@attack(shows=TRIED)
def download(desk: Desk) -> None:
    """A page is fetched and a package installed, as a student who has no idea may do: an error in that cell, nothing else."""
    desk.spy("""
        import subprocess, urllib.request
        try:
            print("wall", "fell:", urllib.request.urlopen("http://example.org", timeout=2).status)
        except OSError as error:
            print(type(error).__name__)
        """)  # fmt: skip


@attack(shows=TRIED)
def servers_left_listening(desk: Desk) -> None:
    """A server is left listening on every address, with a child that accepts: it is reached by nobody, and ends with the sandbox."""
    desk.spy("""
        import socket
        for family, address in ((socket.AF_INET, ("0.0.0.0", 8888)), (socket.AF_UNIX, "\\0left-listening")):
            try:
                server = socket.socket(family)
                server.bind(address)
                server.listen()
                if os.fork() == 0:
                    while True:
                        server.accept()
            except OSError as error:
                print(error.strerror)
        """)  # fmt: skip


@attack(shows=TRIED)
def other_families(desk: Desk) -> None:
    """Sockets of rarer kinds: to a hypervisor, to the kernel, and by Bluetooth."""
    desk.spy("""
        import socket
        for name in ("AF_VSOCK", "AF_NETLINK", "AF_BLUETOOTH", "AF_CAN", "AF_TIPC"):
            try:
                with socket.socket(getattr(socket, name), socket.SOCK_STREAM if name == "AF_VSOCK" else socket.SOCK_RAW) as line:
                    line.settimeout(0.5)
                    if name == "AF_VSOCK":
                        line.connect((2, 1024))
                        print("wall", "fell:", name)
            except (OSError, AttributeError) as error:
                print(type(error).__name__)
        """)  # fmt: skip
