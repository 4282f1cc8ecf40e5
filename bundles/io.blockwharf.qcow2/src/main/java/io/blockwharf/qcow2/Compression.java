package io.blockwharf.qcow2;

import com.github.luben.zstd.Zstd;

import java.util.Optional;
import java.util.zip.DataFormatException;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/** Turns clusters into fewer bytes and back, spec "Compressed Clusters Descriptor". */
final class Compression {
    /**
     * QEMU inflates with a window of 4 KiB ({@code windowBits} -12), which the JDK's deflater
     * cannot be told: it is made to forget what lies farther back.
     */
    private static final int WINDOW = 4096;

    private Compression() {}

    /**
     * The cluster that some bytes stand for. Behind them there may be others.
     *
     * @return whether they stand for one
     */
    static boolean expand(boolean zstd, byte[] bytes, byte[] cluster) {
        return zstd ? expandZstd(bytes, cluster) : inflate(bytes, cluster);
    }

    private static boolean inflate(byte[] bytes, byte[] cluster) {
        try (Inflater inflater = new Inflater(true)) {
            inflater.setInput(bytes);
            int done = 0;
            while (done < cluster.length) {
                int n = inflater.inflate(cluster, done, cluster.length - done);
                if (n == 0) {
                    return false;
                }
                done += n;
            }
            return true;
        } catch (DataFormatException e) {
            return false;
        }
    }

    private static boolean expandZstd(byte[] bytes, byte[] cluster) {
        long frame = Zstd.findFrameCompressedSize(bytes, 0);
        if (Zstd.isError(frame) || frame > bytes.length) {
            return false;
        }
        long n = Zstd.decompressByteArray(cluster, 0, cluster.length, bytes, 0, (int) frame);
        return n == cluster.length;
    }

    /** Fewer bytes for a cluster, if there is a way. */
    static Optional<byte[]> shrink(boolean zstd, byte[] cluster) {
        byte[] bytes = new byte[cluster.length];
        long length = zstd ? shrinkZstd(cluster, bytes) : deflate(cluster, bytes);
        return length <= 0 || length >= cluster.length
                ? Optional.empty()
                : Optional.of(java.util.Arrays.copyOf(bytes, (int) length));
    }

    private static long shrinkZstd(byte[] cluster, byte[] bytes) {
        long length =
                Zstd.compressByteArray(
                        bytes,
                        0,
                        bytes.length,
                        cluster,
                        0,
                        cluster.length,
                        Zstd.defaultCompressionLevel());
        return Zstd.isError(length) ? 0 : length;
    }

    private static int deflate(byte[] cluster, byte[] bytes) {
        try (Deflater deflater = new Deflater(Deflater.DEFAULT_COMPRESSION, true)) {
            int done = 0;
            for (int from = 0; from < cluster.length; from += WINDOW) {
                int n = Math.min(WINDOW, cluster.length - from);
                deflater.setInput(cluster, from, n);
                boolean last = from + n == cluster.length;
                if (last) {
                    deflater.finish();
                }
                int wrote =
                        deflater.deflate(
                                bytes,
                                done,
                                bytes.length - done,
                                last ? Deflater.NO_FLUSH : Deflater.FULL_FLUSH);
                done += wrote;
                if (done == bytes.length) {
                    return 0; // no room: not worth it
                }
            }
            return deflater.finished() ? done : 0;
        }
    }
}
