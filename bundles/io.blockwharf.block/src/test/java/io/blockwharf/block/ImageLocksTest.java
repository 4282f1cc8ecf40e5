package io.blockwharf.block;

import static io.blockwharf.api.block.Permission.CONSISTENT_READ;
import static io.blockwharf.api.block.Permission.RESIZE;
import static io.blockwharf.api.block.Permission.WRITE;
import static io.blockwharf.api.block.Permission.WRITE_UNCHANGED;
import static io.blockwharf.block.Images.WRITABLE;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.OpenFlags;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.block.FileOptions.OnOffAuto;
import io.blockwharf.linux.HostFile;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;

/** Locks against ourselves and against QEMU's own tools. Reference: file-posix.c. */
@Timeout(120)
class ImageLocksTest {
    private static final Set<Permission> ALL = Permission.all();

    @TempDir Path directory;
    private Path path;

    @BeforeEach
    void create() throws IOException {
        path = directory.resolve("disk.raw");
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            file.setLength(1 << 20);
        }
    }

    private static Set<Permission> allBut(Permission... missing) {
        Set<Permission> set = EnumSet.allOf(Permission.class);
        set.removeAll(Set.of(missing));
        return set;
    }

    private FileImage open() {
        return Images.file(path, WRITABLE);
    }

    @Test
    void theBytesAreQemus() throws IOException {
        try (FileImage image = open();
                HostFile other = HostFile.open(path.toString(), HostFile.Flag.WRITE)) {
            image.permissions(Set.of(CONSISTENT_READ, WRITE), allBut(WRITE, RESIZE));
            for (int at = 90; at < 220; at++) {
                boolean expected = Set.of(100, 101, 201, 203).contains(at);
                assertEquals(expected, other.isLockedByOther(at, 1, true), "byte " + at);
                // Shared locks: they keep nobody from adding one
                assertFalse(other.isLockedByOther(at, 1, false), "byte " + at);
            }
            image.permissions(Set.of(CONSISTENT_READ), ALL);
            assertTrue(other.isLockedByOther(100, 1, true));
            assertFalse(other.isLockedByOther(101, 103, true));
            image.permissions(Set.of(), ALL);
            assertFalse(other.isLockedByOther(0, 300, true));
        }
    }

    @Test
    void whatIsNotSharedCannotBeTaken() throws IOException {
        try (FileImage first = open();
                FileImage second = open()) {
            first.permissions(Set.of(CONSISTENT_READ), allBut(WRITE));
            QmpException e =
                    assertThrows(
                            QmpException.class,
                            () -> second.permissions(Set.of(CONSISTENT_READ, WRITE), ALL));
            assertEquals("Failed to get \"write\" lock", e.getMessage());
            assertEquals("Is another process using the image [" + path + "]?", e.hint());
            // And nothing of it is left behind
            second.permissions(Set.of(CONSISTENT_READ), ALL);
            first.permissions(Set.of(CONSISTENT_READ), ALL);
            second.permissions(Set.of(CONSISTENT_READ, WRITE), ALL);
        }
    }

    @Test
    void whatIsTakenCannotBeUnshared() throws IOException {
        try (FileImage first = open();
                FileImage second = open()) {
            first.permissions(Set.of(WRITE_UNCHANGED), ALL);
            QmpException e =
                    assertThrows(
                            QmpException.class,
                            () -> second.permissions(Set.of(), allBut(WRITE_UNCHANGED)));
            assertEquals("Failed to get shared \"write unchanged\" lock", e.getMessage());
            first.permissions(Set.of(RESIZE), ALL);
            second.permissions(Set.of(), allBut(WRITE_UNCHANGED));
        }
    }

    @Test
    void aRefusedChangeLeavesTheOldPermissions() throws IOException {
        try (FileImage first = open();
                FileImage second = open();
                HostFile other = HostFile.open(path.toString(), HostFile.Flag.WRITE)) {
            first.permissions(Set.of(WRITE), ALL);
            second.permissions(Set.of(CONSISTENT_READ), allBut(RESIZE));
            assertThrows(
                    QmpException.class,
                    () -> second.permissions(Set.of(WRITE_UNCHANGED), allBut(WRITE)));
            assertTrue(other.isLockedByOther(100, 1, true));
            assertTrue(other.isLockedByOther(203, 1, true));
            assertFalse(other.isLockedByOther(102, 1, true));
            assertFalse(other.isLockedByOther(201, 1, true));
        }
    }

    @Test
    void lockingCanBeSwitchedOff() throws IOException {
        try (FileImage first = open();
                var off =
                        new FileDriver()
                                .open(
                                        Images.spec(
                                                path, WRITABLE, Optional.empty(), OnOffAuto.OFF));
                var forced =
                        Images.file(path, new OpenFlags(true, false, false, false, true, false))) {
            first.permissions(Set.of(CONSISTENT_READ, WRITE), Set.of());
            off.permissions(Set.of(WRITE), Set.of());
            forced.permissions(Set.of(CONSISTENT_READ), ALL);
            assertEquals(false, off.details().get("locked"));
        }
    }

    @Test
    void closingReleases() throws IOException {
        FileImage first = open();
        first.permissions(Set.of(CONSISTENT_READ, WRITE), Set.of());
        first.close();
        try (FileImage second = open()) {
            second.permissions(Set.of(CONSISTENT_READ, WRITE), Set.of());
        }
    }

    @Test
    void qemuImgRefusesAnImageThatIsWrittenHere() throws IOException {
        String copy = directory.resolve("copy.raw").toString();
        String[] convert = {"qemu-img", "convert", "-f", "raw", path.toString(), copy};
        String[] resize = {"qemu-img", "resize", "-f", "raw", path.toString(), "2M"};
        try (FileImage image = open()) {
            image.permissions(Set.of(CONSISTENT_READ, WRITE), allBut(WRITE, RESIZE));
            assertRefuses("Failed to get shared \"write\" lock", convert);
            assertRefuses("Failed to get \"write\" lock", resize);
            image.permissions(Set.of(CONSISTENT_READ), allBut(WRITE, RESIZE));
            assertRefuses("Failed to get \"write\" lock", resize);
            assertEquals(0, Images.run(convert).status());
            image.permissions(Set.of(CONSISTENT_READ), ALL);
            assertEquals(0, Images.run(resize).status());
        }
    }

    private static void assertRefuses(String message, String... command) throws IOException {
        Images.Outcome outcome = Images.run(command);
        assertEquals(1, outcome.status());
        assertTrue(outcome.output().contains(message), outcome.output());
    }

    @Test
    void anImageThatQemuWritesIsRefused() throws IOException {
        Process writer =
                new ProcessBuilder("qemu-io", "-f", "raw", path.toString())
                        .redirectErrorStream(true)
                        .start();
        try (FileImage image = open()) {
            // It has its locks when it asks for a command
            StringBuilder said = new StringBuilder();
            while (said.indexOf("qemu-io>") < 0) {
                int c = writer.getInputStream().read();
                assertTrue(c >= 0, said.toString());
                said.append((char) c);
            }
            QmpException e =
                    assertThrows(
                            QmpException.class,
                            () -> image.permissions(Set.of(CONSISTENT_READ, WRITE), allBut(WRITE)));
            assertTrue(
                    Set.of("Failed to get \"write\" lock", "Failed to get shared \"write\" lock")
                            .contains(e.getMessage()),
                    e.getMessage());
            writer.getOutputStream().write("quit\n".getBytes(StandardCharsets.US_ASCII));
            writer.getOutputStream().flush();
            assertEquals(0, writer.onExit().join().exitValue());
            image.permissions(Set.of(CONSISTENT_READ, WRITE), allBut(WRITE));
        } finally {
            writer.destroyForcibly();
        }
    }
}
