package io.blockwharf.linux;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * The sockets that a service manager opened before it started this process: sd_listen_fds(3). Each
 * has a name; {@link SocketAddress.Fd} takes one wherever it takes a number. Several sockets of one
 * name are served together.
 *
 * <p>The manager's descriptors stay open as long as the process, so that what was stopped can be
 * started again; clients wait in their backlog meanwhile.
 */
public final class ActivatedSockets {
    /** SD_LISTEN_FDS_START. */
    private static final int FIRST = 3;

    /** More than any service has; the variable is a hint, not a promise. */
    private static final int MAX = 4096;

    /** What a socket without a name is called, sd_listen_fds_with_names(3). */
    private static final String UNNAMED = "unknown";

    private static final ActivatedSockets OF_PROCESS = ofProcess();

    private final Map<String, List<Integer>> byName;

    private ActivatedSockets(Map<String, List<Integer>> byName) {
        this.byName = byName;
    }

    /** The names, in the manager's order. */
    public static Set<String> names() {
        return Collections.unmodifiableSet(OF_PROCESS.byName.keySet());
    }

    /** The descriptors of that name in the process; empty if there is none. */
    static List<Integer> named(String name) {
        return OF_PROCESS.byName.getOrDefault(name, List.of());
    }

    private static ActivatedSockets ofProcess() {
        ActivatedSockets found = of(System.getenv(), ProcessHandle.current().pid());
        for (List<Integer> fds : found.byName.values()) {
            for (int fd : fds) {
                try {
                    Descriptor.closeOnExec(fd);
                } catch (LinuxException e) {
                    // Not open, against the manager's word: whoever uses it will see
                }
            }
        }
        return found;
    }

    /** What the variables say to the process {@code pid}; nothing if they mean another one. */
    static ActivatedSockets of(Map<String, String> environment, long pid) {
        Map<String, List<Integer>> byName = new LinkedHashMap<>();
        boolean ours = number(environment.get("LISTEN_PID")).filter(n -> n == pid).isPresent();
        long count = number(environment.get("LISTEN_FDS")).filter(n -> n <= MAX).orElse(0L);
        if (ours) {
            String[] names = environment.getOrDefault("LISTEN_FDNAMES", "").split(":", -1);
            for (int i = 0; i < count; i++) {
                String name = i < names.length && !names[i].isEmpty() ? names[i] : UNNAMED;
                byName.computeIfAbsent(name, _ -> new ArrayList<>()).add(FIRST + i);
            }
        }
        return new ActivatedSockets(byName);
    }

    /** By name, as {@link #of} has read them. */
    Map<String, List<Integer>> all() {
        return byName;
    }

    private static Optional<Long> number(String text) {
        try {
            return Optional.ofNullable(text).map(Long::parseUnsignedLong).filter(n -> n >= 0);
        } catch (NumberFormatException e) {
            return Optional.empty();
        }
    }
}
