package io.blockwharf.fuse;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What this process sees mounted: {@code /proc/self/mountinfo}, proc(5). Reading it touches no file
 * system, so that a thread that serves one may do it.
 */
final class MountTable {
    /**
     * A mounted file system.
     *
     * @param device {@code major:minor}, one per file system
     * @param target where it is mounted
     * @param type file system type, with the subtype behind a dot
     */
    record Entry(String device, String target, String type) {}

    private static final Path FILE = Path.of("/proc/self/mountinfo");

    private MountTable() {}

    /** What is mounted now, in the order of mounting. */
    static List<Entry> read() throws IOException {
        return parse(Files.readString(FILE, StandardCharsets.ISO_8859_1));
    }

    /** What is seen at a path: the last one that was mounted there. */
    static Optional<Entry> at(String path) throws IOException {
        return read().stream().filter(e -> e.target().equals(path)).reduce((_, last) -> last);
    }

    /**
     * Where a file system can be reached, which it cannot where something else lies over it.
     *
     * @param device {@code major:minor}
     * @param usual the place that is preferred if there are several
     */
    static Optional<String> placeOf(List<Entry> table, String device, String usual) {
        Map<String, String> tops = new LinkedHashMap<>();
        table.forEach(entry -> tops.put(entry.target, entry.device));
        if (device.equals(tops.get(usual))) {
            return Optional.of(usual);
        }
        return tops.entrySet().stream()
                .filter(top -> top.getValue().equals(device))
                .map(Map.Entry::getKey)
                .findFirst();
    }

    /** {@code 36 35 98:0 /root /target options optional... - type source superOptions}. */
    static List<Entry> parse(String table) {
        List<Entry> entries = new ArrayList<>();
        for (String line : table.split("\n")) {
            String[] fields = line.split(" ");
            for (int i = 6; i + 1 < fields.length; i++) {
                if (fields[i].equals("-")) {
                    entries.add(new Entry(fields[2], unescape(fields[4]), fields[i + 1]));
                    break;
                }
            }
        }
        return entries;
    }

    /** Space, tab, newline and backslash are written as three octal digits; names are UTF-8. */
    private static String unescape(String field) {
        byte[] bytes = field.getBytes(StandardCharsets.ISO_8859_1);
        byte[] plain = new byte[bytes.length];
        int n = 0;
        for (int i = 0; i < bytes.length; i++) {
            if (bytes[i] == '\\' && i + 3 < bytes.length) {
                plain[n++] = (byte) Integer.parseInt(field.substring(i + 1, i + 4), 8);
                i += 3;
            } else {
                plain[n++] = bytes[i];
            }
        }
        return new String(plain, 0, n, StandardCharsets.UTF_8);
    }
}
