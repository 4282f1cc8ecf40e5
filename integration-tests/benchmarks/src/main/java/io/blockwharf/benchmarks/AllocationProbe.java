package io.blockwharf.benchmarks;

import com.sun.management.ThreadMXBean;
import com.sun.tools.attach.AttachNotSupportedException;
import com.sun.tools.attach.VirtualMachine;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadInfo;
import java.util.HashMap;
import java.util.Map;

import javax.management.remote.JMXConnector;
import javax.management.remote.JMXConnectorFactory;
import javax.management.remote.JMXServiceURL;

/**
 * How many bytes the threads of another Java process have allocated, exact to the byte: the JVM
 * counts for each thread, also within its allocation buffer, and the local management agent tells.
 * The agent's own threads are left out, and the one that looks into the drivers folder every two
 * seconds, whatever is served. Counters that {@code jcmd PerfCounter.print} shows move only when a
 * buffer is retired, heap occupancy not for what is collected; both would hide a small allocation.
 */
final class AllocationProbe implements AutoCloseable {
    private final JMXConnector connector;
    private final ThreadMXBean threads;
    private Map<Long, Long> before = Map.of();

    private AllocationProbe(JMXConnector connector) throws IOException {
        this.connector = connector;
        threads =
                ManagementFactory.newPlatformMXBeanProxy(
                        connector.getMBeanServerConnection(),
                        ManagementFactory.THREAD_MXBEAN_NAME,
                        ThreadMXBean.class);
    }

    static AllocationProbe attach(long pid) throws IOException {
        try {
            VirtualMachine machine = VirtualMachine.attach(Long.toString(pid));
            try {
                return new AllocationProbe(
                        JMXConnectorFactory.connect(
                                new JMXServiceURL(machine.startLocalManagementAgent())));
            } finally {
                machine.detach();
            }
        } catch (AttachNotSupportedException e) {
            throw new IOException(e);
        }
    }

    /** Starts counting. */
    void reset() {
        before = allocated();
    }

    /** Bytes allocated since {@link #reset} by threads that still live. */
    long bytes() {
        long sum = 0;
        for (var thread : allocated().entrySet()) {
            sum += thread.getValue() - before.getOrDefault(thread.getKey(), 0L);
        }
        return sum;
    }

    private Map<Long, Long> allocated() {
        long[] ids = threads.getAllThreadIds();
        ThreadInfo[] infos = threads.getThreadInfo(ids);
        long[] bytes = threads.getThreadAllocatedBytes(ids);
        var result = new HashMap<Long, Long>();
        for (int i = 0; i < ids.length; i++) {
            if (infos[i] != null && bytes[i] >= 0 && !isOther(infos[i].getThreadName())) {
                result.put(ids[i], bytes[i]);
            }
        }
        return result;
    }

    private static boolean isOther(String name) {
        return name.startsWith("RMI ")
                || name.startsWith("JMX ")
                || name.startsWith("fileinstall-")
                || name.equals("Attach Listener")
                || name.equals("Common-Cleaner");
    }

    @Override
    public void close() throws IOException {
        connector.close();
    }
}
