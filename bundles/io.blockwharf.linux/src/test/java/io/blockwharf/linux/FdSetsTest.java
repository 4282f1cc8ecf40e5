package io.blockwharf.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;

/** Descriptors that came over a monitor: sets, names. QEMU's texts. */
class FdSetsTest {
    private static final int O_RDONLY = 0;
    private static final int O_RDWR = 2;

    @TempDir Path directory;

    private final FdSets sets = new FdSets();

    private Descriptor file(HostFile.Flag... flags) throws IOException {
        Path path = directory.resolve("f");
        if (!Files.exists(path)) {
            Files.createFile(path);
        }
        return new Descriptor(HostFile.open(path.toString(), flags).release());
    }

    private static String error(Executable executable) {
        return assertThrows(LinuxException.class, executable).getMessage();
    }

    private String ids() {
        return sets.list().stream()
                .map(set -> set.id() + "x" + set.members().size())
                .collect(Collectors.joining(" "));
    }

    @Test
    void numbersAreGivenOrChosen() throws IOException {
        assertEquals(0, sets.add(Optional.empty(), file(), Optional.empty()));
        assertEquals(2, sets.add(Optional.of(2L), file(), Optional.empty()));
        assertEquals(1, sets.add(Optional.empty(), file(), Optional.empty()));
        assertEquals(2, sets.add(Optional.of(2L), file(), Optional.of("second")));
        assertEquals("2x2 1x1 0x1", ids());
        assertEquals(Optional.of("second"), sets.list().getFirst().members().get(1).opaque());
        Descriptor refused = file();
        assertEquals(
                "Parameter 'fdset-id' expects a non-negative value",
                error(() -> sets.add(Optional.of(-1L), refused, Optional.empty())));
        assertTrue(refused.isClosed());
        for (long id : List.of(0L, 1L, 2L)) {
            assertTrue(sets.remove(id, Optional.empty()));
        }
        assertEquals("", ids());
    }

    @Test
    void theMemberWithTheSameAccessIsDuplicated() throws IOException {
        sets.add(Optional.of(7L), file(HostFile.Flag.WRITE), Optional.empty());
        try (var duplicate = sets.open("/dev/fdset/7", O_RDWR);
                HostFile file = HostFile.of(duplicate.fd())) {
            assertEquals(
                    "Could not dup FD for /dev/fdset/7 flags 0: Permission denied",
                    error(() -> sets.open("/dev/fdset/7", O_RDONLY)));
            // It lives without the set's own descriptor
            assertTrue(sets.remove(7, Optional.empty()));
            assertEquals("7x0", ids());
            assertEquals(0, file.length());
        }
        assertEquals("", ids());
        assertEquals(
                "Could not dup FD for /dev/fdset/7 flags 2: No such file or directory",
                error(() -> sets.open("/dev/fdset/7", O_RDWR)));
        assertEquals(
                "Could not parse fdset /dev/fdset/x",
                error(() -> sets.open("/dev/fdset/x", O_RDWR)));
    }

    @Test
    void oneMemberIsRemovedByItsNumber() throws IOException {
        Descriptor a = file();
        Descriptor b = file();
        long number = a.fd();
        sets.add(Optional.of(0L), a, Optional.empty());
        sets.add(Optional.of(0L), b, Optional.empty());
        assertTrue(sets.remove(0, Optional.of(number)));
        assertTrue(a.isClosed() && !b.isClosed());
        assertFalse(sets.remove(0, Optional.of(number)));
        assertFalse(sets.remove(1, Optional.empty()));
        sets.remove(0, Optional.empty());
    }

    @Test
    void membersThatNothingUsesEndWithTheLastClient() throws IOException {
        sets.clientCame();
        sets.clientCame();
        Descriptor idle = file();
        Descriptor used = file();
        sets.add(Optional.of(0L), idle, Optional.empty());
        sets.add(Optional.of(1L), used, Optional.empty());
        var duplicate = sets.open("/dev/fdset/1", O_RDONLY);
        sets.clientLeft();
        assertEquals("1x1 0x1", ids());
        sets.clientLeft();
        assertEquals("1x1", ids());
        assertTrue(idle.isClosed() && !used.isClosed());
        new Descriptor(duplicate.fd()).close();
        duplicate.close();
        duplicate.close();
        assertEquals("", ids());
        assertTrue(used.isClosed());
    }

    @Test
    void thereIsABound() throws IOException {
        sets.clientCame();
        for (int i = 0; i < FdSets.MAX; i++) {
            sets.add(Optional.of(0L), file(), Optional.empty());
        }
        Descriptor last = file();
        assertEquals(
                "Too many file descriptors in sets",
                error(() -> sets.add(Optional.of(0L), last, Optional.empty())));
        assertTrue(last.isClosed());
        sets.clientLeft();
        sets.add(Optional.of(0L), file(), Optional.empty());
        sets.remove(0, Optional.empty());
    }

    @Test
    void hostFilesAreOpenedFromTheProcessesSets() throws IOException {
        FdSets own = FdSets.ofProcess();
        long id = own.add(Optional.empty(), file(HostFile.Flag.WRITE), Optional.empty());
        try (HostFile file = HostFile.open("/dev/fdset/" + id, HostFile.Flag.WRITE)) {
            file.truncate(12);
            assertTrue(own.remove(id, Optional.empty()));
        }
        assertEquals(12, Files.size(directory.resolve("f")));
        assertTrue(own.list().stream().noneMatch(set -> set.id() == id));
    }

    // --- Names -------------------------------------------------------------------------------

    @Test
    void duringACommandAnAddressMeansAName() throws IOException {
        try (NamedDescriptors names = new NamedDescriptors();
                ListeningSocket listening =
                        ListeningSocket.open(
                                new SocketAddress.Unix(directory.resolve("s").toString()), 1)) {
            int fd = listening.socketFd();
            int copy = Libc.fcntl(fd, Libc.F_DUPFD_CLOEXEC, 0);
            names.put("s", new Descriptor(copy));
            SocketAddress s = new SocketAddress.Fd("s");
            names.during(() -> ListeningSocket.open(s, 1)).close();
            assertEquals(
                    "File descriptor named 's' has not been found",
                    error(() -> names.during(() -> ListeningSocket.open(s, 1))));
            SocketAddress number = new SocketAddress.Fd(Integer.toString(fd));
            assertEquals(
                    "File descriptor named '" + fd + "' has not been found",
                    error(() -> names.during(() -> ListeningSocket.open(number, 1))));
            assertEquals(
                    "File descriptor named '" + fd + "' has not been found",
                    error(
                            () ->
                                    NamedDescriptors.withoutNumbers(
                                            () -> ListeningSocket.open(number, 1))));
            Descriptor file = file();
            names.put("s", file);
            assertEquals(
                    "File descriptor 's' is not a socket",
                    error(() -> names.during(() -> FdSocket.connect(s))));
            assertTrue(file.isClosed());
        }
    }

    @Test
    void namesAreReplacedDroppedAndBounded() throws IOException {
        NamedDescriptors names = new NamedDescriptors();
        Descriptor first = file();
        names.put("a", first);
        names.put("a", file());
        assertTrue(first.isClosed());
        assertTrue(names.drop("a"));
        assertFalse(names.drop("a"));
        Descriptor digit = file();
        assertEquals(
                "Parameter 'fdname' expects a name not starting with a digit",
                error(() -> names.put("1a", digit)));
        assertTrue(digit.isClosed());
        for (int i = 0; i < NamedDescriptors.MAX; i++) {
            names.put("n" + i, file());
        }
        assertEquals(
                "Too many file descriptors with names", error(() -> names.put("more", file())));
        names.put("n0", file());
        names.close();
        assertFalse(names.drop("n0"));
    }
}
