package io.blockwharf.benchmarks;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/** Turns samples into Markdown and says which targets they meet. */
final class Report {
    private static final double MAX_READY_SECONDS = 1.2;
    private static final double MAX_RESIDENT_MIB = 120;

    /**
     * The odd byte that the JVM itself allocates in a second does not count as an allocation per
     * request.
     */
    private static final double MAX_BYTES_PER_REQUEST = 0.1;

    /** One start of a server. */
    record StartUp(long readyNanos, long residentKib) {}

    /**
     * A demand and what was measured, as lines of the first table.
     *
     * @param limit what {@link ReferenceServer} reaches in place of Blockwharf; may be empty
     */
    record Verdict(String subject, String demand, String measured, boolean met, String limit) {
        Verdict(String subject, String demand, String measured, boolean met) {
            this(subject, demand, measured, met, "");
        }
    }

    private final List<Verdict> verdicts = new ArrayList<>();
    private final StringBuilder body = new StringBuilder();
    private final Options options;
    private final Map<String, String> machine;

    Report(Options options, Map<String, String> machine) {
        this.options = options;
        this.machine = machine;
    }

    void add(Plan.Section section, Map<Row, Map<Server, List<Sample>>> results) {
        heading(section.title(), section.text());
        results.forEach(
                (row, samples) -> {
                    verdicts.addAll(verdicts(row, samples));
                    line("### %s (`%s`)\n", row.title(), row.id());
                    table(row, samples);
                });
    }

    void addGenerator(Map<Row, Map<Server, List<Sample>>> results) {
        heading(
                "What the load generator can do",
                "The same client on the same CPU, against a server that makes up its answers. A"
                        + " server that comes near these figures is limited by the client.");
        line("| load | k requests/s | client CPU µs/request | share of the CPU |");
        line("|---|--:|--:|--:|");
        results.forEach(
                (row, samples) ->
                        samples.forEach(
                                (_, list) -> {
                                    double perSecond =
                                            Sample.median(list, Sample::requestsPerSecond);
                                    double client = Sample.median(list, Sample::clientCpuMicros);
                                    line(
                                            "| %s | %.1f | %.2f | %.0f %% |",
                                            row.load().title(),
                                            perSecond / 1e3,
                                            client,
                                            perSecond * client / 1e4);
                                }));
        line("");
    }

    void addAllocations(Map<String, Double> perRequest) {
        heading(
                "Allocation",
                "Bytes of Java heap that all threads of the daemon allocate for one request in"
                    + " steady state, from the JVM's exact per-thread counters. Left out are the"
                    + " threads of the management agent that reads them, and the one that looks"
                    + " into the drivers folder every two seconds, whatever is served.");
        line("| load | bytes/request |");
        line("|---|--:|");
        perRequest.forEach(
                (load, bytes) -> {
                    line("| %s | %.3f |", load, bytes);
                    verdicts.add(
                            new Verdict(
                                    "allocation: " + load,
                                    "no bytes per request",
                                    format("%.3f", bytes),
                                    bytes <= MAX_BYTES_PER_REQUEST));
                });
        line("");
    }

    void addStartUps(Map<String, List<StartUp>> startUps) {
        heading(
                "Start and memory",
                "Time from starting the program to its greeting of the first client; resident"
                        + " memory two seconds later, without a client.");
        line("| server | ready ms (min–max) | resident MiB |");
        line("|---|--:|--:|");
        startUps.forEach(
                (title, list) -> {
                    double[] ready =
                            list.stream().mapToDouble(s -> s.readyNanos() / 1e6).sorted().toArray();
                    double resident =
                            Sample.median(
                                    list.stream()
                                            .mapToDouble(s -> s.residentKib() / 1024.0)
                                            .toArray());
                    line(
                            "| %s | %.0f (%.0f–%.0f) | %.1f |",
                            title,
                            Sample.median(ready),
                            ready[0],
                            ready[ready.length - 1],
                            resident);
                    if (title.equals(Server.BLOCKWHARF + ", all CPUs")
                            || title.equals(Server.BLOCKWHARF + ", one CPU")) {
                        double seconds = Sample.median(ready) / 1e3;
                        verdicts.add(
                                new Verdict(
                                        "start: " + title,
                                        format("ready in ≤ %.1f s", MAX_READY_SECONDS),
                                        format("%.2f s", seconds),
                                        seconds <= MAX_READY_SECONDS));
                        verdicts.add(
                                new Verdict(
                                        "memory: " + title,
                                        format("≤ %.0f MiB idle", MAX_RESIDENT_MIB),
                                        format("%.1f MiB", resident),
                                        resident <= MAX_RESIDENT_MIB));
                    }
                });
        line("");
    }

    String markdown() {
        var out = new StringBuilder();
        out.append("# Benchmark report\n\n");
        out.append("Made by `integration-tests/benchmarks/run")
                .append(options.quick() ? " --quick" : "")
                .append(options.rows().equals("*") ? "" : " --rows '" + options.rows() + "'")
                .append("`: ")
                .append(
                        format(
                                "%d rounds of %d ms for each server in each row, servers"
                                    + " interleaved; medians over the rounds, ratios of medians."
                                    + " Before the rounds of a row, every server is loaded with the"
                                    + " row's load, 4 s after its start and 2 s later on, and a"
                                    + " quarter of a round before each: what is measured is the"
                                    + " steady state. Ratios are what counts: absolute figures are"
                                    + " those of this machine on that day.\n\n",
                                options.rounds(), options.duration().toMillis()));
        machine.forEach(
                (title, text) ->
                        out.append("- ").append(title).append(": ").append(text).append('\n'));
        out.append("- Transport: unix socket, one connection\n\n");
        if (!verdicts.isEmpty()) {
            long met = verdicts.stream().filter(Verdict::met).count();
            out.append(format("## Targets: %d of %d met\n\n", met, verdicts.size()));
            out.append(
                    "Blockwharf's default configuration against the fastest configuration of each"
                        + " peer. The last column has what is to be had on this machine: the ratio"
                        + " of a reference server to the same peer, which answers each request with"
                        + " one plain call on the file and nothing else, and of one that has no"
                        + " file at all.\n\n");
            out.append(
                    "| row | target | measured | | plain calls; no disk |\n"
                            + "|---|---|--:|---|--:|\n");
            for (Verdict v : verdicts) {
                out.append(
                        format(
                                "| %s | %s | %s | %s | %s |\n",
                                v.subject(),
                                v.demand(),
                                v.measured(),
                                v.met() ? "pass" : "**miss**",
                                v.limit()));
            }
            out.append('\n');
        }
        return out.append(body).toString().stripTrailing() + "\n";
    }

    /**
     * What a row's samples say to its targets. A target against a program that did not run is not
     * met.
     */
    static List<Verdict> verdicts(Row row, Map<Server, List<Sample>> samples) {
        Optional<Server> ours =
                samples.keySet().stream()
                        .filter(s -> s.family().equals(Server.BLOCKWHARF))
                        .findFirst();
        var result = new ArrayList<Verdict>();
        for (Row.Target target : row.targets()) {
            Optional<Server> peer =
                    samples.keySet().stream()
                            .filter(s -> s.family().equals(target.family()))
                            .max(Comparator.comparingDouble(s -> speed(samples.get(s))));
            String subject = row.id();
            String demand =
                    switch (target) {
                        case Row.Target.Throughput t -> format("≥ %.2f× %s", t.bound(), t.family());
                        case Row.Target.Cpu t ->
                                format("CPU per request ≤ %.2f× %s", t.bound(), t.family());
                    };
            if (ours.isEmpty() || peer.isEmpty()) {
                result.add(new Verdict(subject, demand, "not measured", false));
                continue;
            }
            List<Sample> theirs = samples.get(peer.get());
            double ratio = ratio(target, samples.get(ours.get()), theirs);
            String limit =
                    samples.keySet().stream()
                            .filter(s -> s.family().equals(Server.REFERENCE))
                            .map(s -> format("%.2f×", ratio(target, samples.get(s), theirs)))
                            .collect(Collectors.joining("; "));
            boolean met =
                    switch (target) {
                        case Row.Target.Throughput t -> ratio >= t.bound();
                        case Row.Target.Cpu t -> ratio <= t.bound();
                    };
            result.add(new Verdict(subject, demand, format("%.2f×", ratio), met, limit));
        }
        return result;
    }

    private static double ratio(Row.Target target, List<Sample> mine, List<Sample> theirs) {
        return switch (target) {
            case Row.Target.Throughput _ -> speed(mine) / speed(theirs);
            case Row.Target.Cpu _ -> cpu(mine) / cpu(theirs);
        };
    }

    private void table(Row row, Map<Server, List<Sample>> samples) {
        boolean large = row.load().bytes() >= 64 << 10;
        double ours =
                samples.entrySet().stream()
                        .filter(e -> e.getKey().family().equals(Server.BLOCKWHARF))
                        .findFirst()
                        .map(e -> speed(e.getValue()))
                        .orElse(Double.NaN);
        line(
                "| server | %s (min–max) | Blockwharf is | server CPU µs/request | client CPU"
                        + " µs/request | p50 µs | p99 µs |",
                large ? "MiB/s" : "k requests/s");
        line("|---|--:|--:|--:|--:|--:|--:|");
        double unit = large ? 1048576.0 / row.load().bytes() : 1e3;
        samples.forEach(
                (server, list) -> {
                    double[] speeds =
                            list.stream()
                                    .mapToDouble(s -> s.requestsPerSecond() / unit)
                                    .sorted()
                                    .toArray();
                    line(
                            "| %s | %.1f (%.1f–%.1f) | %.2f× | %.2f | %.2f | %.1f | %.1f |",
                            server.title(),
                            Sample.median(speeds),
                            speeds[0],
                            speeds[speeds.length - 1],
                            ours / speed(list),
                            cpu(list),
                            Sample.median(list, Sample::clientCpuMicros),
                            Sample.median(list, s -> s.p50Nanos() / 1e3),
                            Sample.median(list, s -> s.p99Nanos() / 1e3));
                });
        line("");
    }

    private static double speed(List<Sample> samples) {
        return Sample.median(samples, Sample::requestsPerSecond);
    }

    private static double cpu(List<Sample> samples) {
        return Sample.median(samples, Sample::serverCpuMicros);
    }

    private void heading(String title, String text) {
        line("## %s\n\n%s\n", title, text);
    }

    private void line(String format, Object... arguments) {
        body.append(format(format, arguments)).append('\n');
    }

    private static String format(String format, Object... arguments) {
        return String.format(Locale.ROOT, format, arguments);
    }
}
