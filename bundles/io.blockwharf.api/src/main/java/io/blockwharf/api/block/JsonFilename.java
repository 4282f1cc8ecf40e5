package io.blockwharf.api.block;

import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * The file name of a node that a plain name does not describe: {@code json:} and its options, as
 * QEMU's {@code bdrv_refresh_filename} makes it. For {@link BlockImage#filename}. Functions of
 * their arguments.
 */
public final class JsonFilename {
    /** What such a name begins with; a JSON object follows. */
    public static final String PREFIX = "json:";

    private JsonFilename() {}

    /** Whether a name says all without options. */
    public static boolean isPlain(String filename) {
        return !filename.startsWith(PREFIX);
    }

    /** Of these members, which are JSON already; those that are empty are left out. */
    public static String of(Map<String, Optional<String>> members) {
        return PREFIX
                + members.entrySet().stream()
                        .filter(member -> member.getValue().isPresent())
                        .map(member -> text(member.getKey()) + ": " + member.getValue().get())
                        .collect(Collectors.joining(", ", "{", "}"));
    }

    /** A JSON string. */
    public static String text(String plain) {
        StringBuilder quoted = new StringBuilder("\"");
        plain.chars()
                .forEach(
                        c -> {
                            if (c == '"' || c == '\\') {
                                quoted.append('\\').append((char) c);
                            } else if (c < ' ') {
                                quoted.append("\\u%04x".formatted(c));
                            } else {
                                quoted.append((char) c);
                            }
                        });
        return quoted.append('"').toString();
    }
}
