package io.blockwharf.launcher;

import static java.nio.file.StandardOpenOption.CREATE_NEW;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.time.Duration;
import java.time.Instant;

/**
 * A daemon's own folder for what the framework unpacks, below {@code java.io.tmpdir}. It lives as
 * long as the daemon. That of a daemon that was killed is removed by the next one: it is known by
 * its lock, which nobody holds any more.
 */
final class CacheFolder implements AutoCloseable {
    private static final String PREFIX = "blockwharf-";
    private static final String LOCK = "lock";

    /** A new folder is not locked in its first moments. */
    private static final Duration SETTLED = Duration.ofMinutes(1);

    private final Path path;
    private final FileChannel lock;

    private CacheFolder(Path path, FileChannel lock) {
        this.path = path;
        this.lock = lock;
    }

    /**
     * Makes a folder that only this user can enter.
     *
     * @throws StartException if that is not possible
     */
    static CacheFolder create() {
        Path temporary = Path.of(System.getProperty("java.io.tmpdir")).toAbsolutePath();
        removeAbandoned(temporary);
        try {
            Path path = Files.createTempDirectory(temporary, PREFIX);
            FileChannel lock = FileChannel.open(path.resolve(LOCK), CREATE_NEW, WRITE);
            lock.lock();
            return new CacheFolder(path, lock);
        } catch (IOException e) {
            throw new StartException(
                    "cannot make a temporary folder in %s: %s", temporary, e.getMessage());
        }
    }

    Path path() {
        return path;
    }

    @Override
    public void close() {
        try (lock) {
            remove(path);
        } catch (IOException e) {
            TerminalLog.print("cannot remove " + path + ": " + e.getMessage());
        }
    }

    private static void removeAbandoned(Path temporary) {
        try (var folders = Files.newDirectoryStream(temporary, PREFIX + "*")) {
            for (Path folder : folders) {
                removeIfAbandoned(folder);
            }
        } catch (IOException e) {
            // Somebody else's, or gone meanwhile: none of our business.
        }
    }

    private static void removeIfAbandoned(Path folder) throws IOException {
        Path lock = folder.resolve(LOCK);
        Instant settled = Instant.now().minus(SETTLED);
        if (!Files.isWritable(lock)
                || Files.getLastModifiedTime(lock).toInstant().isAfter(settled)) {
            return;
        }
        try (FileChannel channel = FileChannel.open(lock, WRITE)) {
            if (channel.tryLock() != null) {
                remove(folder);
            }
        }
    }

    private static void remove(Path folder) throws IOException {
        Files.walkFileTree(
                folder,
                new SimpleFileVisitor<>() {
                    @Override
                    public FileVisitResult visitFile(Path file, BasicFileAttributes attributes)
                            throws IOException {
                        Files.deleteIfExists(file);
                        return FileVisitResult.CONTINUE;
                    }

                    @Override
                    public FileVisitResult postVisitDirectory(Path directory, IOException error)
                            throws IOException {
                        Files.deleteIfExists(directory);
                        return FileVisitResult.CONTINUE;
                    }
                });
    }
}
