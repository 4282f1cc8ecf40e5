package io.blockwharf.launcher;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

class PidFileTest {
    @TempDir Path dir;
    private Path path;

    @BeforeEach
    void name() {
        path = dir.resolve("daemon.pid");
    }

    @Test
    void holdsTheProcessIdUntilItIsClosed() throws IOException {
        try (PidFile _ = PidFile.create(path)) {
            assertEquals(List.of(path), files());
            assertEquals(ProcessHandle.current().pid() + "\n", Files.readString(path));
        }
        assertEquals(List.of(), files());
    }

    @Test
    void replacesTheFileOfTheDead() throws IOException {
        Files.writeString(path, "1\n");
        try (PidFile _ = PidFile.create(path)) {
            assertEquals(ProcessHandle.current().pid() + "\n", Files.readString(path));
            assertEquals(List.of(path), files());
        }
    }

    @Test
    void leavesTheFileOfTheLivingAlone() throws IOException {
        try (PidFile _ = PidFile.create(path)) {
            assertEquals(
                    "cannot create PID file: Cannot lock pid file:"
                            + " Resource temporarily unavailable",
                    assertThrows(StartException.class, () -> PidFile.create(path)).getMessage());
            assertEquals(List.of(path), files());
        }
        assertFalse(Files.exists(path));
    }

    @Test
    void saysWhyItCannotBeWritten() {
        Path nowhere = dir.resolve("no/pid");
        assertEquals(
                "cannot create PID file: Could not create '"
                        + nowhere
                        + "': No such file or directory",
                assertThrows(StartException.class, () -> PidFile.create(nowhere)).getMessage());
    }

    private List<Path> files() throws IOException {
        try (var files = Files.list(dir)) {
            return files.toList();
        }
    }
}
