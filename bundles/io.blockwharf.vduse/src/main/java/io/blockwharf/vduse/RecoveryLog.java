package io.blockwharf.vduse;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.blockwharf.linux.Credentials;
import io.blockwharf.virtio.queue.InFlightLog;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Set;

/**
 * What the queues of a device have taken and not given back, in a file in memory that outlives this
 * process as the device does: {@code /dev/shm/blockwharf-vduse-NAME}. A head that says which device
 * it belongs to, then an {@link InFlightLog} for each queue.
 */
final class RecoveryLog implements AutoCloseable {
    /** Where logs are; lost, like devices, when the host restarts. */
    static final Path DIRECTORY = Path.of("/dev/shm");

    private static final long MAGIC = 0x31_76_65_44_66_72_57_42L; // "BWrfDev1"
    private static final long AT_MAGIC = 0;
    private static final long AT_FEATURES = 8;
    private static final long AT_QUEUES = 16;
    private static final long AT_BLOCK_SIZE = 24;
    private static final long HEADER_BYTES = 64;

    /** Rings may be smaller than the largest. */
    private static final long SLOT_BYTES = InFlightLog.byteSize(VduseBlkDriver.QUEUE_SIZE_MAX);

    /**
     * What a driver relies on, so that a successor must be the same.
     *
     * @param features the features that are offered
     * @param queues the number of queues
     * @param blockSize the logical block size in bytes
     */
    record Shape(long features, int queues, int blockSize) {}

    private final Path path;
    private final Arena arena;
    private final MemorySegment bytes;

    private RecoveryLog(Path path, Arena arena, MemorySegment bytes) {
        this.path = path;
        this.arena = arena;
        this.bytes = bytes;
    }

    /**
     * Opens the log of a device.
     *
     * @param takenOver whether the device lives already, so that the log, if there is one, counts;
     *     a device whose server has finished everything needs none
     * @throws IOException also if the log belongs to another device or another user
     */
    static RecoveryLog open(Path directory, String name, Shape shape, boolean takenOver)
            throws IOException {
        Path path = directory.resolve("blockwharf-vduse-" + name);
        if (!takenOver) {
            Files.deleteIfExists(path);
        }
        long size = HEADER_BYTES + SLOT_BYTES * shape.queues;
        // Everybody may make files there: no link is followed, and nobody else's file is used.
        try (FileChannel channel =
                FileChannel.open(
                        path,
                        Set.of(
                                StandardOpenOption.READ,
                                StandardOpenOption.WRITE,
                                StandardOpenOption.CREATE,
                                LinkOption.NOFOLLOW_LINKS),
                        PosixFilePermissions.asFileAttribute(
                                PosixFilePermissions.fromString("rw-------")))) {
            int owner = (int) Files.getAttribute(path, "unix:uid", LinkOption.NOFOLLOW_LINKS);
            if (owner != Credentials.ofThisProcess().uid()) {
                throw new IOException(path + " belongs to another user");
            }
            Arena arena = Arena.ofShared();
            try {
                MemorySegment bytes = channel.map(FileChannel.MapMode.READ_WRITE, 0, size, arena);
                RecoveryLog log = new RecoveryLog(path, arena, bytes);
                log.claim(shape);
                return log;
            } catch (IOException e) {
                arena.close();
                throw e;
            }
        }
    }

    private void claim(Shape shape) throws IOException {
        if (bytes.get(JAVA_LONG, AT_MAGIC) != MAGIC) {
            bytes.set(JAVA_LONG, AT_FEATURES, shape.features);
            bytes.set(JAVA_LONG, AT_QUEUES, shape.queues);
            bytes.set(JAVA_LONG, AT_BLOCK_SIZE, shape.blockSize);
            bytes.set(JAVA_LONG, AT_MAGIC, MAGIC);
        } else if (bytes.get(JAVA_LONG, AT_FEATURES) != shape.features
                || bytes.get(JAVA_LONG, AT_QUEUES) != shape.queues
                || bytes.get(JAVA_LONG, AT_BLOCK_SIZE) != shape.blockSize) {
            throw new IOException(
                    path + " is of a device with other queues, block size or features");
        }
    }

    /** The log of one queue. */
    MemorySegment queue(int index) {
        return bytes.asSlice(HEADER_BYTES + SLOT_BYTES * index, SLOT_BYTES);
    }

    /** Makes the log of a queue a new one: the driver has reset it. */
    void clear(int index) {
        InFlightLog.clear(queue(index));
    }

    /** Removes the file: the device is gone. */
    void delete() throws IOException {
        Files.deleteIfExists(path);
    }

    /** Lets go of the file. Idempotent. */
    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
