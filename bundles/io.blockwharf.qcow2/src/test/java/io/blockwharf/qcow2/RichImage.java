package io.blockwharf.qcow2;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;

import io.blockwharf.api.block.BitmapStore;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.qmp.QmpException;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;

/** An image with everything in it: snapshot, bitmap, compressed clusters, zero clusters. */
final class RichImage {
    private RichImage() {}

    /** Its bytes. */
    static byte[] bytes(Path folder) throws IOException {
        Path path = folder.resolve("rich.qcow2");
        Disk.create(path, "1M", "-o", "cluster_size=4k");
        Disk.run("qemu-io", "-c", "write -P 1 0 64k", path.toString()).ok();
        Disk.run("qemu-img", "snapshot", "-c", "s", path.toString()).ok();
        Disk.run("qemu-img", "bitmap", "--add", path.toString(), "b").ok();
        Disk.run(
                        "qemu-io",
                        "-c",
                        "write -P 2 32k 64k",
                        "-c",
                        "write -z 128k 64k",
                        "-c",
                        "write -c -P 3 256k 8k",
                        path.toString())
                .ok();
        return Files.readAllBytes(path);
    }

    /** What a fuzz target begins with: made once. */
    static byte[] once() {
        return Once.BYTES;
    }

    private static final class Once {
        static final byte[] BYTES;

        static {
            try {
                Path folder = Files.createTempDirectory("rich");
                BYTES = bytes(folder);
                Files.delete(folder.resolve("rich.qcow2"));
                Files.delete(folder);
            } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
            }
        }
    }

    /** Puts words over a part of it, and uses what comes out. */
    static void fuzz(FuzzedDataProvider data, long from, long bytes) throws IOException {
        byte[] image = once().clone();
        boolean writable = data.consumeBoolean();
        long end = Math.min(image.length, from + bytes) - 8;
        while (data.remainingBytes() > 0) {
            int at = (int) data.consumeLong(from, end);
            if (data.consumeBoolean()) {
                image[at] = data.consumeByte();
            } else {
                ByteBuffer.wrap(image).putLong(at, data.consumeLong());
            }
        }
        Path path = Files.createTempFile("fuzz", ".qcow2");
        try {
            Files.write(path, image);
            use(path, writable);
        } finally {
            Files.delete(path);
        }
    }

    /**
     * Does everything that one can do with an image; only the expected kinds of failure may come.
     */
    static void use(Path path, boolean writable) throws IOException {
        Disk disk;
        try {
            disk = Disk.open(path, writable);
        } catch (QmpException e) {
            assertTrue(e.getMessage() != null && !e.getMessage().isEmpty());
            return;
        }
        try {
            long size = disk.image.length();
            attempt(() -> disk.read(0, (int) Math.min(size, 1 << 20)));
            for (long at : new long[] {0, size / 2 & -512, Math.max(0, size - 512) & -512}) {
                if (at < size) {
                    int n = (int) Math.min(8192, size - at);
                    attempt(() -> disk.image.extentAt(at, n));
                    disk.image.hostExtent(at, n);
                    if (writable) {
                        attempt(() -> disk.write(at, new byte[n]));
                        attempt(() -> disk.image.writeZeroes(at, n, 0));
                        attempt(() -> disk.image.discard(at, n));
                    }
                }
            }
            BitmapStore bitmaps = disk.image.bitmapStore().orElseThrow();
            for (BitmapStore.Stored stored : bitmaps.stored()) {
                attempt(() -> bitmaps.load(stored.name(), (_, _) -> {}));
            }
            if (writable) {
                attempt(disk.image::flush);
                attempt(() -> disk.image.resize(size / 2 & -512));
            }
        } finally {
            disk.abandon();
        }
    }

    /** A request. */
    @FunctionalInterface
    private interface Request {
        void run() throws BlockIoException;
    }

    private static void attempt(Request request) {
        try {
            request.run();
        } catch (BlockIoException | QmpException e) {
            assertTrue(e.getMessage() != null);
        }
    }
}
