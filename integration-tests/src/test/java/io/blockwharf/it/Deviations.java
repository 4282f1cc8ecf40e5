package io.blockwharf.it;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The differences between our answers and QEMU's that the README of this module names and
 * justifies. A test that meets one says so, so that a row that nothing meets any more is noticed.
 */
final class Deviations {
    private static final Path README = Path.of("README.md");

    private final List<String> rows;
    private final Set<String> met = new HashSet<>();

    private Deviations(List<String> rows) {
        this.rows = rows;
    }

    /** The first column of the table under a heading of the README. */
    static Deviations under(String heading) {
        List<String> lines;
        try {
            lines = Files.readAllLines(README);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        int start = lines.indexOf(heading);
        if (start < 0) {
            throw new IllegalStateException("no heading " + heading + " in " + README);
        }
        // The head of the table and the line below it are no rows
        return new Deviations(
                lines.subList(start + 1, lines.size()).stream()
                        .dropWhile(line -> !line.startsWith("|"))
                        .takeWhile(line -> line.startsWith("|"))
                        .skip(2)
                        .flatMap(Deviations::firstColumn)
                        .toList());
    }

    private static Stream<String> firstColumn(String row) {
        return Stream.of(row.split("(?<!\\\\)\\|", -1)[1].split(","))
                .map(cell -> cell.strip().replace("`", ""));
    }

    /** Whether a difference is in the table. */
    boolean has(String row) {
        if (rows.contains(row)) {
            met.add(row);
            return true;
        }
        return false;
    }

    /** All of the table. */
    List<String> rows() {
        return rows;
    }

    /** What was never asked for. */
    Set<String> notMet() {
        return rows.stream()
                .filter(row -> !met.contains(row))
                .collect(Collectors.toCollection(LinkedHashSet::new));
    }
}
