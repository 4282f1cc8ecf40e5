package io.blockwharf.launcher;

import static java.nio.file.StandardOpenOption.CREATE_NEW;
import static java.nio.file.StandardOpenOption.READ;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;

/**
 * The pid file. Who sees it sees the whole content: it is written and locked (fcntl, as QEMU does)
 * under another name and then put in place. The lock is held until {@link #close}, which also
 * removes the file.
 */
final class PidFile implements AutoCloseable {
    /** As many as the kernel follows, path_resolution(7). */
    private static final int MOST_LINKS = 40;

    private final Path path;
    private final FileChannel locked;

    private PidFile(Path path, FileChannel locked) {
        this.path = path;
        this.locked = locked;
    }

    /**
     * Writes this process's id. The file of a daemon that has died is replaced, that of a living
     * one is not.
     *
     * @throws StartException if it cannot be written, or a living process holds it
     */
    static PidFile create(Path path) {
        try {
            Path absolute = place(path);
            Path draft = absolute.resolveSibling(absolute.getFileName() + "." + pid() + ".tmp");
            Files.deleteIfExists(draft);
            FileChannel channel = FileChannel.open(draft, CREATE_NEW, READ, WRITE);
            try {
                channel.write(ByteBuffer.wrap((pid() + "\n").getBytes(StandardCharsets.US_ASCII)));
                lock(channel);
                while (!putInPlace(draft, absolute)) {}
                return new PidFile(absolute, channel);
            } catch (IOException | RuntimeException e) {
                channel.close();
                throw e;
            } finally {
                Files.deleteIfExists(draft);
            }
        } catch (IOException e) {
            throw new StartException(
                    "cannot create PID file: Could not create '%s': %s", path, reason(e));
        }
    }

    /** Where a link leads, which need not be there. */
    private static Path place(Path path) throws IOException {
        Path found = path.toAbsolutePath();
        for (int links = 0; Files.isSymbolicLink(found); links++) {
            if (links == MOST_LINKS) {
                throw new FileSystemException(
                        path.toString(), null, "Too many levels of symbolic links");
            }
            found = found.resolveSibling(Files.readSymbolicLink(found));
        }
        return found;
    }

    /** Returns false if the place changed meanwhile, so that the caller looks again. */
    private static boolean putInPlace(Path draft, Path path) throws IOException {
        try {
            Files.createLink(path, draft);
            return true;
        } catch (FileAlreadyExistsException e) {
            return replaceStale(draft, path);
        } catch (UnsupportedOperationException | FileSystemException e) {
            if (Files.exists(path)) {
                return replaceStale(draft, path);
            }
            // No hard links here. Two daemons that start in the same instant are not told apart.
            Files.move(draft, path, StandardCopyOption.ATOMIC_MOVE);
            return true;
        }
    }

    private static boolean replaceStale(Path draft, Path path) throws IOException {
        try {
            Object before = inode(path);
            try (FileChannel old = FileChannel.open(path, READ, WRITE)) {
                lock(old);
                // The same before and after: then it was this one that we opened and locked.
                if (!inode(path).equals(before)) {
                    return false;
                }
                Files.move(draft, path, StandardCopyOption.ATOMIC_MOVE);
                return true;
            }
        } catch (NoSuchFileException e) {
            return false;
        }
    }

    private static Object inode(Path path) throws IOException {
        return Files.getAttribute(path, "unix:ino");
    }

    private static void lock(FileChannel channel) throws IOException {
        try {
            if (channel.tryLock() != null) {
                return;
            }
        } catch (OverlappingFileLockException e) {
            // This very process holds it.
        }
        throw new StartException(
                "cannot create PID file: Cannot lock pid file: Resource temporarily unavailable");
    }

    private static String reason(IOException e) {
        return switch (e) {
            case NoSuchFileException _ -> "No such file or directory";
            case AccessDeniedException _ -> "Permission denied";
            case FileSystemException f when f.getReason() != null -> f.getReason();
            default -> e.getMessage();
        };
    }

    private static long pid() {
        return ProcessHandle.current().pid();
    }

    /** Removes the file, then lets the lock go. */
    @Override
    public void close() {
        try (locked) {
            if (locked.isOpen()) {
                Files.deleteIfExists(path);
            }
        } catch (IOException e) {
            TerminalLog.print("cannot remove PID file: " + e.getMessage());
        }
    }
}
