package io.blockwharf.launcher;

import org.apache.felix.framework.Logger;
import org.osgi.framework.BundleContext;
import org.osgi.framework.ServiceReference;
import org.osgi.service.log.LogEntry;
import org.osgi.service.log.LogLevel;
import org.osgi.service.log.LogListener;
import org.osgi.service.log.LogReaderService;
import org.osgi.service.log.LoggerFactory;
import org.osgi.util.tracker.ServiceTracker;

import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/**
 * Warnings and errors on standard error, one line each. Never on standard output: it may be a QMP
 * channel.
 */
final class TerminalLog implements LogListener {
    /** Where trace events are logged that somebody has asked for. */
    private static final String TRACE = "blockwharf.trace";

    /** Who logs that everything before has been printed. */
    private static final String END = "blockwharf.terminal";

    /** The log's own thread does not hang; this only bounds what a listener of others could do. */
    private static final long PATIENCE_SECONDS = 10;

    private final BundleContext context;
    private final Semaphore ends = new Semaphore(0);

    private TerminalLog(BundleContext context) {
        this.context = context;
    }

    /** Prints what the bundles log, for as long as the framework lives. */
    static TerminalLog open(BundleContext context) {
        TerminalLog listener = new TerminalLog(context);
        new ServiceTracker<LogReaderService, LogReaderService>(
                context, LogReaderService.class, null) {
            @Override
            public LogReaderService addingService(ServiceReference<LogReaderService> reference) {
                LogReaderService reader = super.addingService(reference);
                reader.addLogListener(listener);
                return reader;
            }
        }.open();
        return listener;
    }

    /**
     * Returns when everything is printed that was logged before: the log has a thread of its own,
     * and what is printed next shall not overtake it.
     */
    void await() {
        ServiceReference<LoggerFactory> reference =
                context.getServiceReference(LoggerFactory.class);
        if (reference == null) {
            return; // then nothing was logged either
        }
        context.getService(reference).getLogger(END).audit("");
        try {
            ends.tryAcquire(PATIENCE_SECONDS, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void logged(LogEntry entry) {
        if (entry.getLoggerName().equals(END)) {
            ends.release();
        } else if (entry.getLoggerName().equals(TRACE)) {
            System.err.println(entry.getMessage());
        } else if (LogLevel.WARN.implies(entry.getLogLevel())) {
            print(entry.getMessage());
            if (entry.getException() != null) {
                entry.getException().printStackTrace();
            }
        }
    }

    static void print(String message) {
        System.err.println("blockwharf: " + message);
    }

    /** What the framework itself has to say. */
    static final class OfFramework extends Logger {
        @Override
        protected void doLog(int level, String message, Throwable error) {
            print(message + (error == null ? "" : ": " + error));
        }
    }
}
