package io.blockwharf.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/** sd_listen_fds(3), sd_listen_fds_with_names(3), sd_notify(3). */
class ServiceManagerTest {
    private static final long PID = 4711;

    @TempDir private Path directory;

    @ParameterizedTest(name = "{0} {1} {2} -> {3}")
    @CsvSource(
            delimiter = '|',
            nullValues = "-",
            textBlock =
                    """
                    4711 | 1 | -         | {unknown=[3]}
                    4711 | 1 | nbd       | {nbd=[3]}
                    4711 | 3 | nbd:qmp:x | {nbd=[3], qmp=[4], x=[5]}
                    4711 | 3 | nbd:x:nbd | {nbd=[3, 5], x=[4]}
                    4711 | 3 | nbd::     | {nbd=[3], unknown=[4, 5]}
                    4711 | 2 | nbd       | {nbd=[3], unknown=[4]}
                    4711 | 1 | nbd:qmp   | {nbd=[3]}
                    4711 | 0 | nbd       | {}
                    4712 | 1 | nbd       | {}
                    -    | 1 | nbd       | {}
                    4711 | - | nbd       | {}
                    x    | 1 | nbd       | {}
                    4711 | x | nbd       | {}
                    4711 | -1 | nbd      | {}
                    4711 | 99999999999999 | nbd | {}
                    4711 | 99999999999999999999 | nbd | {}
                    """)
    void socketsByName(String pid, String fds, String names, String found) {
        Map<String, String> environment = new HashMap<>();
        environment.put("LISTEN_PID", pid);
        environment.put("LISTEN_FDS", fds);
        environment.put("LISTEN_FDNAMES", names);
        environment.values().removeIf(value -> value == null);
        assertEquals(found, ActivatedSockets.of(environment, PID).all().toString());
    }

    @Test
    void aNameThatNobodyGaveIsNoAddress() {
        assertFalse(new SocketAddress.Fd("nbd").isActivated());
        assertFalse(new SocketAddress.Fd("0").isActivated());
    }

    @ParameterizedTest
    @ValueSource(strings = {"/s", "@"})
    void theManagerReadsWhatItIsTold(String kind) throws IOException {
        String path =
                kind.equals("@")
                        ? "blockwharf-manager-" + ProcessHandle.current().pid()
                        : directory + kind;
        SocketName name =
                SocketName.of(
                        new SocketAddress.Unix(
                                path, Optional.of(kind.equals("@")), Optional.empty()));
        int fd = Libc.socket(Libc.AF_UNIX, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0);
        try (FdSocket manager = new FdSocket(fd);
                Arena arena = Arena.ofConfined()) {
            assertEquals(0, name.with((at, length) -> Libc.bind(fd, at, length)));
            assertTrue(ThisProcess.send(kind.equals("@") ? "@" + path : path, "READY=1"));
            MemorySegment text = arena.allocate(64);
            long n = manager.receive(text, 0, 64, FdSocket.DONT_WAIT);
            byte[] bytes = text.asSlice(0, n).toArray(java.lang.foreign.ValueLayout.JAVA_BYTE);
            assertEquals("READY=1", new String(bytes, StandardCharsets.UTF_8));
        }
    }

    @Test
    void nobodyIsThere() {
        assertFalse(ThisProcess.send(directory.resolve("gone").toString(), "READY=1"));
        assertFalse(ThisProcess.send("x".repeat(200), "READY=1"));
    }
}
