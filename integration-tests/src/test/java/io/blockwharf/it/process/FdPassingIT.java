package io.blockwharf.it.process;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Path;

/**
 * Descriptors that a client passes over a monitor, as management programs do: python3 is the
 * client, because the JDK cannot send them. QEMU's texts.
 */
@Timeout(value = 300, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class FdPassingIT {
    /** What the scripts below have: clients, sending with descriptors, answers on one line. */
    private static final String CLIENT =
            """
            import json, os, socket, sys, time
            class Monitor:
                def __init__(self, path):
                    self.socket = socket.socket(socket.AF_UNIX)
                    self.socket.connect(path)
                    self.lines = self.socket.makefile('r')
                    self.lines.readline()
                    self.call('qmp_capabilities')
                def send(self, command, fds=(), **arguments):
                    text = json.dumps({'execute': command, 'arguments': {
                        k.replace('_', '-'): v for k, v in arguments.items()}}) + '\\n'
                    socket.send_fds(self.socket, [text.encode()], fds)
                def answer(self):
                    while True:
                        message = json.loads(self.lines.readline())
                        if 'event' not in message:
                            return message
                def call(self, command, fds=(), **arguments):
                    self.send(command, fds, **arguments)
                    return self.answer()
                def tell(self, command, fds=(), **arguments):
                    answer = self.call(command, fds, **arguments)
                    print(answer['error']['desc'] if 'error' in answer
                          else json.dumps(answer['return']))
                def close(self):
                    self.lines.close()
                    self.socket.close()
            def listening(path):
                s = socket.socket(socket.AF_UNIX)
                s.bind(path)
                s.listen()
                return s
            def opened(path):
                links = 0
                for fd in os.listdir(f'/proc/{pid}/fd'):
                    try:
                        links += os.readlink(f'/proc/{pid}/fd/{fd}') == path
                    except OSError:
                        pass
                return links
            def wait_closed(path):
                end = time.monotonic() + 100
                while opened(path):
                    assert time.monotonic() < end, f'{path} stays open'
                    time.sleep(0.02)
            folder, pid = sys.argv[1:]
            os.chdir(folder)
            monitor = Monitor('qmp')
            disk = os.path.join(folder, 'disk')
            """;

    @TempDir Path directory;
    private Path image;

    @BeforeEach
    void makeImage() throws IOException {
        assumeFalse(Daemon.REFERENCE); // qemu-storage-daemon has none of these commands
        directory = directory.toRealPath();
        image = Image.random(directory.resolve("disk"), 1 << 20);
    }

    private String run(String script) throws IOException {
        try (var daemon =
                Daemon.start(
                        directory,
                        "--chardev",
                        "socket,id=m,server=on,wait=off,path=" + directory.resolve("qmp"),
                        "--monitor",
                        "m",
                        "--chardev",
                        "socket,id=m2,server=on,wait=off,path=" + directory.resolve("qmp2"),
                        "--monitor",
                        "m2",
                        "--blockdev",
                        "file,node-name=n,filename=" + image)) {
            return Tools.run(
                            "python3",
                            "-c",
                            CLIENT + script,
                            directory.toString(),
                            Long.toString(daemon.pid()))
                    .ok();
        }
    }

    @Test
    void namedDescriptors() throws IOException {
        assertEquals(
                """
                No file descriptor supplied via SCM_RIGHTS
                Parameter 'fdname' is missing
                Parameter 'fdname' expects a name not starting with a digit
                {}
                {}
                {}
                File descriptor named 'a' not found
                {}
                {}
                No file descriptor supplied via SCM_RIGHTS
                File descriptor named 'mine' not found
                {}
                {}
                {}
                {}
                """,
                run(
                        """
                        f = os.open('disk', os.O_RDONLY)
                        monitor.tell('getfd', fdname='a')
                        monitor.tell('getfd', [f])
                        monitor.tell('getfd', [f], fdname='1a')
                        monitor.tell('getfd', [f], fdname='a')
                        monitor.tell('getfd', [f], fdname='a')
                        monitor.tell('closefd', fdname='a')
                        monitor.tell('closefd', fdname='a')
                        # Before the command that wants it, as QEMU's Python library does it
                        socket.send_fds(monitor.socket, [b' '], [f])
                        monitor.tell('getfd', fdname='early')
                        monitor.tell('getfd', [f, f, f], fdname='mine')
                        monitor.tell('getfd', fdname='more')
                        other = Monitor('qmp2')
                        other.tell('closefd', fdname='mine')
                        # Sent at once, each with its own
                        for name in 'x', 'y', 'z':
                            monitor.send('getfd', [f], fdname=name)
                        for name in 'x', 'y', 'z':
                            print(json.dumps(monitor.answer()['return']))
                        # The names stay when the client goes
                        monitor.close()
                        monitor = Monitor('qmp')
                        monitor.tell('closefd', fdname='mine')
                        """));
    }

    @Test
    void whatNobodyClaimsIsClosed() throws IOException {
        assertEquals(
                "closed\n",
                run(
                        """
                        path = os.path.join(folder, 'other')
                        f = os.open(path, os.O_RDWR | os.O_CREAT)
                        for i in range(300):
                            monitor.call('query-version', [f] * 30)
                            assert opened(path) <= 1
                        monitor.call('getfd', [os.open('disk', os.O_RDONLY)], fdname='a')
                        wait_closed(path)
                        for i in range(300):
                            monitor.call('add-fd', [f] * 30, fdset_id=-1)
                        socket.send_fds(monitor.socket, [b'{'], [f])
                        monitor.close()
                        wait_closed(path)
                        print('closed')
                        """));
    }

    @Test
    void setsOfDescriptorsAreFilesOfNodes() throws IOException {
        assertEquals(
                """
                {"fdset-id": 0}
                {"fdset-id": 7}
                {"fdset-id": 7}
                Parameter 'fdset-id' expects a non-negative value
                [{"fds": 2, "fdset-id": 7, "opaque": ["ro", "rw"]}, {"fds": 1, "fdset-id": 0, "opaque": [null]}]
                Could not dup FD for /dev/fdset/0 flags 2: Permission denied
                Could not dup FD for /dev/fdset/3 flags 2: No such file or directory
                Could not parse fdset /dev/fdset/x
                {}
                {}
                True
                {}
                File descriptor named 'fdset-id:7' not found
                File descriptor named 'fdset-id:0, fd:4096' not found
                {}
                []
                """,
                run(
                        """
                        def add(flags, **arguments):
                            fd = os.open('other', flags)
                            answer = monitor.call('add-fd', [fd], **arguments)
                            os.close(fd)
                            if 'return' in answer:
                                del answer['return']['fd']
                                print(json.dumps(answer['return']))
                            else:
                                print(answer['error']['desc'])
                        def node(file, **options):
                            monitor.tell('blockdev-add', driver='file', node_name='p',
                                         filename='/dev/fdset/' + file, **options)
                        with open('other', 'wb') as f:
                            f.truncate(1 << 20)
                        path = os.path.join(folder, 'other')
                        add(os.O_RDONLY)
                        add(os.O_RDONLY, fdset_id=7, opaque='ro')
                        add(os.O_RDWR, fdset_id=7, opaque='rw')
                        add(os.O_RDONLY, fdset_id=-3)
                        sets = monitor.call('query-fdsets')['return']
                        for s in sets:
                            s['opaque'] = [fd.get('opaque') for fd in s['fds']]
                            s['fds'] = len(s['fds'])
                        print(json.dumps([dict(sorted(s.items())) for s in sets]))
                        node('0')
                        node('3')
                        node('x')
                        node('7')
                        monitor.tell('remove-fd', fdset_id=7)
                        print(opened(path) == 2) # that of set 0, and the node's
                        monitor.tell('blockdev-del', node_name='p')
                        monitor.tell('remove-fd', fdset_id=7)
                        monitor.tell('remove-fd', fdset_id=0, fd=4096)
                        node('0', read_only=True)
                        monitor.call('blockdev-del', node_name='p')
                        # Sets are of the daemon, but not without any client
                        monitor.close()
                        wait_closed(path)
                        monitor = Monitor('qmp2')
                        monitor.tell('query-fdsets')
                        """));
    }

    @Test
    void anNbdServerOnASocketThatWasPassed() throws IOException {
        assertEquals(
                """
                File descriptor named 'nbd' has not been found
                File descriptor named '3' has not been found
                {}
                File descriptor 'file' is not a socket
                {}
                {}
                {}
                1048576
                {}
                """,
                run(
                        """
                        import subprocess
                        def start(name):
                            monitor.tell('nbd-server-start',
                                         addr={'type': 'fd', 'data': {'str': name}})
                        start('nbd')
                        start('3')
                        monitor.tell('getfd', [os.open('disk', os.O_RDONLY)], fdname='file')
                        start('file')
                        with listening('nbd') as s:
                            monitor.tell('getfd', [s.fileno()], fdname='nbd')
                        start('nbd')
                        monitor.tell('block-export-add', type='nbd', id='e', node_name='n')
                        print(subprocess.check_output(['nbdinfo', '--size',
                              'nbd+unix:///n?socket=nbd'], text=True).strip())
                        monitor.tell('nbd-server-stop')
                        try:
                            socket.socket(socket.AF_UNIX).connect('nbd')
                            print('still served')
                        except ConnectionRefusedError:
                            pass
                        """));
    }

    @Test
    void vhostUserAndChardevsOnSocketsThatWerePassed() throws IOException {
        assertEquals(
                """
                {}
                File descriptor named 'v' has not been found
                answered
                {}
                {}
                'reconnect' option is incompatible with 'fd' address type
                """,
                run(
                        """
                        def export(id):
                            monitor.tell('block-export-add', type='vhost-user-blk', id=id,
                                         node_name='n', addr={'type': 'fd', 'str': 'v'})
                        with listening('v') as s:
                            monitor.call('getfd', [s.fileno()], fdname='v')
                        export('v')
                        export('w')
                        with socket.socket(socket.AF_UNIX) as front:
                            front.connect('v')
                            # VHOST_USER_GET_FEATURES, protocol version 1
                            front.sendall((1).to_bytes(4, 'little') + (1).to_bytes(4, 'little')
                                          + bytes(4))
                            print('answered' if front.recv(20) else 'hung up')
                        monitor.tell('block-export-del', id='v', mode='hard')
                        def chardev(id, **options):
                            return monitor.call('chardev-add', id=id, backend={'type': 'socket',
                                'data': {'addr': {'type': 'fd', 'data': {'str': 'c'}}, **options}})
                        a, b = socket.socketpair()
                        monitor.call('getfd', [a.fileno()], fdname='c')
                        print(json.dumps(chardev('c', server=False)['return']))
                        print(chardev('d', server=False, reconnect=1)
                              ['error']['desc'].split(': ', 1)[1])
                        """));
    }
}
