package io.blockwharf.benchmarks;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What a reader must know of the machine to judge the figures; nothing that names it. */
final class Machine {
    private Machine() {}

    /** All CPUs as a list that taskset takes. */
    static String allCpus() {
        try {
            return Files.readString(Path.of("/sys/devices/system/cpu/online")).strip();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    static String lastCpu() {
        return allCpus().replaceFirst(".*[-,]", "");
    }

    /** A CPU that is not this one, or this one if it is the only one. */
    static String otherCpu(String cpu) {
        String first = allCpus().replaceFirst("[-,].*", "");
        return first.equals(cpu) ? lastCpu() : first;
    }

    /** Title and text of each property, in the order of the report. */
    static Map<String, String> describe(Options options) throws IOException, InterruptedException {
        String cpuinfo = Files.readString(Path.of("/proc/cpuinfo"));
        long cpus = cpuinfo.lines().filter(line -> line.startsWith("processor")).count();
        boolean virtual = ProcFile.value(cpuinfo, "flags").contains(" hypervisor");
        long memory =
                Long.parseLong(
                        ProcFile.value(Files.readString(Path.of("/proc/meminfo")), "MemTotal")
                                .split(" ")[0]);
        var facts = new LinkedHashMap<String, String>();
        facts.put(
                "CPU",
                cpus
                        + " × "
                        + ProcFile.value(cpuinfo, "model name")
                        + (virtual ? " (virtual machine)" : ""));
        facts.put("Memory", Math.round(memory / 1048576.0) + " GiB");
        // The build suffix of a kernel's release may name a place; its version does not.
        facts.put("Kernel", "Linux " + System.getProperty("os.version").replaceFirst("-.*", ""));
        facts.put("File system of the data", Files.getFileStore(options.directory()).type());
        facts.put(
                "Java",
                System.getProperty("java.vm.name") + " " + System.getProperty("java.vm.version"));
        facts.put("qemu-storage-daemon, qemu-nbd", version("qemu-storage-daemon"));
        facts.put("nbdkit", version("nbdkit"));
        facts.put("fio", version("fio"));
        return facts;
    }

    /** The version that a program tells, without its name and what its packager added. */
    private static String version(String program) throws IOException, InterruptedException {
        Process process =
                new ProcessBuilder(List.of(program, "--version"))
                        .redirectError(ProcessBuilder.Redirect.DISCARD)
                        .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        process.waitFor();
        return output.lines()
                .findFirst()
                .orElse("not found")
                .replaceFirst("^\\S+ version ", "")
                .replaceFirst("^" + program + "[ -]", "")
                .replaceFirst(" \\(.*", "");
    }
}
