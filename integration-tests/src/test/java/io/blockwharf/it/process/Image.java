package io.blockwharf.it.process;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.Random;

/** Files that the tests serve and compare. */
final class Image {
    static final long MIB = 1 << 20;

    private Image() {}

    /** A file that is one hole. */
    static Path sparse(Path path, long size) throws IOException {
        try (var file = new RandomAccessFile(path.toFile(), "rw")) {
            file.setLength(size);
        }
        return path;
    }

    /** A file full of data that does not compress and always is the same. */
    static Path random(Path path, long size) throws IOException {
        var random = new Random(size);
        var piece = new byte[(int) MIB];
        try (var out = Files.newOutputStream(path)) {
            for (long left = size; left > 0; left -= piece.length) {
                random.nextBytes(piece);
                out.write(piece, 0, (int) Math.min(left, piece.length));
            }
        }
        return path;
    }

    /** Writes a byte over a range. */
    static void fill(Path path, long offset, int length, int value) throws IOException {
        var data = new byte[length];
        java.util.Arrays.fill(data, (byte) value);
        try (var file = new RandomAccessFile(path.toFile(), "rw")) {
            file.seek(offset);
            file.write(data);
        }
    }

    static String sha256(Path path) throws IOException {
        try (var in = Files.newInputStream(path)) {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            var piece = new byte[(int) MIB];
            for (int n; (n = in.read(piece)) > 0; ) {
                digest.update(piece, 0, n);
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
