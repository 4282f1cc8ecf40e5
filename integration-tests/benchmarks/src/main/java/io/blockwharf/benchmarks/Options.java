package io.blockwharf.benchmarks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.TreeMap;

/**
 * What the command line says.
 *
 * @param rows a comma-separated list of globs over the ids of rows
 * @param cpu the CPU that pinned rows run on
 * @param javaFlags title and flags of further start-up rows
 */
record Options(
        Path blockwharf,
        Path directory,
        Path memoryDirectory,
        Path report,
        String rows,
        int rounds,
        Duration duration,
        String cpu,
        boolean quick,
        Map<String, String> javaFlags,
        boolean help) {

    /**
     * bin/blockwharf adds what this variable holds to the flags of its JVM, where later ones win.
     */
    static final String JAVA_FLAGS_VARIABLE = "BLOCKWHARF_OPTS";

    static final String USAGE =
            """
            usage: run [options]
              --quick                 few short rounds: shows that it works, not how fast it is
              --rows GLOB[,GLOB...]   only these rows (default: all); see the ids in REPORT.md
              --blockwharf PATH       the daemon's program (default: the distribution that the build left)
              --rounds N              runs of each server in each row (default 5)
              --millis N              length of a run (default 1000)
              --cpu N                 the CPU of pinned rows (default: the last)
              --directory DIR         where the data files go; their disk is measured (default: target)
              --memory-directory DIR  a tmpfs for the rows that need one (default: /dev/shm)
              --report FILE           (default: REPORT.md)
              --java-flags TITLE=FLAGS  one more start-up row of the daemon with these flags of the JVM\
            """;

    static Options parse(String[] arguments) {
        Path module = Path.of(System.getProperty("blockwharf.benchmarks.module", "."));
        Path blockwharf =
                module.resolve("../../bndrun/target/blockwharf/bin/blockwharf").normalize();
        Path directory = module.resolve("target");
        Path memoryDirectory = Path.of("/dev/shm");
        Path report = null;
        String rows = "*";
        int rounds = 0;
        int millis = 0;
        String cpu = Machine.lastCpu();
        boolean quick = false;
        boolean help = false;
        var javaFlags = new TreeMap<String, String>();
        for (int i = 0; i < arguments.length; i++) {
            String option = arguments[i];
            switch (option) {
                case "--quick" -> quick = true;
                case "--help", "-h" -> help = true;
                default -> {
                    if (i + 1 == arguments.length) {
                        throw new IllegalArgumentException(
                                "unknown option, or one without its value: " + option);
                    }
                    String value = arguments[++i];
                    switch (option) {
                        case "--rows" -> rows = value;
                        case "--blockwharf" -> blockwharf = Path.of(value);
                        case "--rounds" -> rounds = positive(option, value);
                        case "--millis" -> millis = positive(option, value);
                        case "--cpu" -> cpu = value;
                        case "--directory" -> directory = Path.of(value);
                        case "--memory-directory" -> memoryDirectory = Path.of(value);
                        case "--report" -> report = Path.of(value);
                        case "--java-flags" -> {
                            int equals = value.indexOf('=');
                            if (equals < 0) {
                                throw new IllegalArgumentException(
                                        "--java-flags takes TITLE=FLAGS");
                            }
                            javaFlags.put(value.substring(0, equals), value.substring(equals + 1));
                        }
                        default -> throw new IllegalArgumentException("unknown option: " + option);
                    }
                }
            }
        }
        if (report == null) {
            report = quick ? directory.resolve("REPORT-quick.md") : module.resolve("REPORT.md");
        }
        return new Options(
                blockwharf.toAbsolutePath(),
                directory.toAbsolutePath(),
                memoryDirectory.toAbsolutePath(),
                report,
                rows,
                rounds > 0 ? rounds : quick ? 3 : 5,
                Duration.ofMillis(millis > 0 ? millis : quick ? 300 : 1000),
                cpu,
                quick,
                javaFlags,
                help);
    }

    private static int positive(String option, String value) {
        try {
            int number = Integer.parseInt(value);
            if (number > 0) {
                return number;
            }
        } catch (NumberFormatException e) {
            // the message below says it
        }
        throw new IllegalArgumentException(option + " takes a positive number, not " + value);
    }

    /**
     * Writes the report of a benchmark that has its own: beside {@link #report}, or, if it is only
     * tried, into {@link #directory}.
     *
     * @param name of the benchmark, as in its script
     */
    void publish(String name, CharSequence text) throws IOException {
        Path target =
                quick
                        ? directory.resolve("REPORT-" + name + "-quick.md")
                        : report.resolveSibling("REPORT-" + name + ".md");
        Files.createDirectories(target.getParent());
        Files.writeString(target, text);
        System.err.println("wrote " + target);
    }
}
