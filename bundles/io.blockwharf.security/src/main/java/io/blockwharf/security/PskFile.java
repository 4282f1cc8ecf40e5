package io.blockwharf.security;

import io.blockwharf.api.qmp.QmpException;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Optional;

/**
 * A file of users and their keys as psktool(1) writes it: lines of a name, a colon, and the key in
 * hexadecimal digits. A name that begins with {@code #} is itself in such digits. What does not
 * look like that is passed over, as GnuTLS does.
 */
record PskFile(Path path) {
    /** Larger files are something else. */
    private static final long MAX_BYTES = 16 << 20;

    /**
     * A line of the file.
     *
     * @param identity the name's bytes
     */
    record Entry(byte[] identity, byte[] key) {
        /** The name as authorizers see it. */
        String name() {
            return new String(identity, StandardCharsets.UTF_8);
        }
    }

    /**
     * Makes sure that the file can be read.
     *
     * @throws QmpException if not
     */
    void check() {
        try {
            read();
        } catch (NoSuchFileException e) {
            throw new QmpException(
                    "Unable to access credentials %s: No such file or directory".formatted(path),
                    e);
        } catch (IOException e) {
            throw new QmpException(
                    "Unable to access credentials %s: %s".formatted(path, e.getMessage()), e);
        }
    }

    /**
     * The entry of a user.
     *
     * @throws QmpException if there is none
     */
    Entry required(String user) {
        check();
        try {
            return find(user.getBytes(StandardCharsets.UTF_8))
                    .orElseThrow(
                            () ->
                                    QmpException.generic(
                                            "Username %s not found in PSK file %s", user, path));
        } catch (IOException e) {
            throw new QmpException(
                    "Unable to access credentials %s: %s".formatted(path, e.getMessage()), e);
        }
    }

    /** The entry of a user, from the file as it is now. */
    Optional<Entry> find(byte[] identity) throws IOException {
        return read().lines()
                .flatMap(line -> parse(line).stream())
                .filter(entry -> Arrays.equals(entry.identity(), identity))
                .findFirst();
    }

    private String read() throws IOException {
        if (Files.size(path) > MAX_BYTES) {
            throw new IOException("File too large");
        }
        return new String(Files.readAllBytes(path), StandardCharsets.UTF_8);
    }

    private static Optional<Entry> parse(String line) {
        int colon = line.indexOf(':');
        if (colon <= 0) {
            return Optional.empty();
        }
        try {
            String name = line.substring(0, colon);
            byte[] key = HexFormat.of().parseHex(line.substring(colon + 1).strip());
            byte[] identity =
                    name.startsWith("#")
                            ? HexFormat.of().parseHex(name.substring(1))
                            : name.getBytes(StandardCharsets.UTF_8);
            return key.length == 0 ? Optional.empty() : Optional.of(new Entry(identity, key));
        } catch (IllegalArgumentException e) {
            return Optional.empty();
        }
    }
}
