package io.blockwharf.benchmarks;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * fio's nbd engine: a client that is not ours and sends every request with a system call of its
 * own.
 */
final class FioClient {
    private static final int WRITE_FIELDS =
            41; // terse version 3: the write group starts that many fields later
    private static final Pattern MEDIAN = Pattern.compile("50\\.000000%=(\\d+)");
    private static final Pattern P99 = Pattern.compile("99\\.000000%=(\\d+)");

    private FioClient() {}

    /** Runs fio for a time; it inherits this process's CPUs. */
    static Sample run(Path socket, Load load, Duration duration)
            throws IOException, InterruptedException {
        Process fio =
                new ProcessBuilder(
                                List.of(
                                        "fio",
                                        "--name=load",
                                        "--ioengine=nbd",
                                        "--uri=nbd+unix:///" + Server.EXPORT + "?socket=" + socket,
                                        "--rw=" + load.access().fioName,
                                        "--bs=" + load.bytes(),
                                        "--iodepth=" + load.depth(),
                                        "--time_based",
                                        "--runtime=" + duration.toMillis() + "ms",
                                        "--thread",
                                        "--output-format=terse",
                                        "--terse-version=3"))
                        .redirectError(ProcessBuilder.Redirect.INHERIT)
                        .start();
        String output = new String(fio.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (fio.waitFor() != 0) {
            throw new IOException("fio failed: " + output);
        }
        return parse(
                output.lines().filter(line -> line.startsWith("3;")).findFirst().orElseThrow(),
                load.access().writes());
    }

    /** One line of fio's terse output, version 3, of a job that only reads or only writes. */
    static Sample parse(String terse, boolean writes) {
        String[] fields = terse.split(";");
        int first = 5 + (writes ? WRITE_FIELDS : 0);
        double perSecond = Double.parseDouble(fields[first + 2]);
        long nanos = Long.parseLong(fields[first + 3]) * 1_000_000;
        double cpuPercent = percent(fields[87]) + percent(fields[88]);
        String group = String.join(";", List.of(fields).subList(first, first + WRITE_FIELDS));
        return new Sample(
                Math.round(perSecond * nanos / 1e9),
                nanos,
                0,
                Math.round(cpuPercent / 100 * nanos),
                micros(MEDIAN, group) * 1000,
                micros(P99, group) * 1000,
                0);
    }

    private static double percent(String field) {
        return Double.parseDouble(field.replace("%", ""));
    }

    private static long micros(Pattern pattern, String group) {
        Matcher matcher = pattern.matcher(group);
        return matcher.find() ? Long.parseLong(matcher.group(1)) : 0;
    }
}
