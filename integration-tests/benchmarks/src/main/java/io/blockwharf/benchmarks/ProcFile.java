package io.blockwharf.benchmarks;

/** Readers of files of proc(5). */
final class ProcFile {
    /** USER_HZ is 100 on every Linux that a JDK runs on. */
    private static final long NANOS_PER_TICK = 10_000_000;

    private ProcFile() {}

    /**
     * utime + stime of /proc/PID/stat; the program's name, which comes before, may contain
     * anything.
     */
    static long cpuNanos(String stat) {
        String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
        int state = 3; // the number that proc(5) gives to the first field after the name
        return (Long.parseLong(fields[14 - state]) + Long.parseLong(fields[15 - state]))
                * NANOS_PER_TICK;
    }

    /**
     * read_bytes of /proc/PID/io: what the process and its kernel workers had fetched from storage.
     */
    static long storageBytesRead(String io) {
        return Long.parseLong(value(io, "read_bytes"));
    }

    /** VmRSS of /proc/PID/status. */
    static long residentKib(String status) {
        return Long.parseLong(value(status, "VmRSS").split(" ")[0]);
    }

    /** The value of the first line {@code key: value}, or an empty string. */
    static String value(String file, String key) {
        return file.lines()
                .filter(line -> line.startsWith(key))
                .map(line -> line.substring(line.indexOf(':') + 1).strip())
                .findFirst()
                .orElse("");
    }
}
