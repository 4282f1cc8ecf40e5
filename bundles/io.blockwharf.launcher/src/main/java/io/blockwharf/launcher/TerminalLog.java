package io.blockwharf.launcher;

import org.apache.felix.framework.Logger;
import org.osgi.framework.BundleContext;
import org.osgi.framework.ServiceReference;
import org.osgi.service.log.LogEntry;
import org.osgi.service.log.LogLevel;
import org.osgi.service.log.LogListener;
import org.osgi.service.log.LogReaderService;
import org.osgi.util.tracker.ServiceTracker;

/**
 * Warnings and errors on standard error, one line each. Never on standard output: it may be a QMP
 * channel.
 */
final class TerminalLog implements LogListener {
    /** Where trace events are logged that somebody has asked for. */
    private static final String TRACE = "blockwharf.trace";

    private TerminalLog() {}

    /** Prints what the bundles log, for as long as the framework lives. */
    static void open(BundleContext context) {
        LogListener listener = new TerminalLog();
        new ServiceTracker<LogReaderService, LogReaderService>(
                context, LogReaderService.class, null) {
            @Override
            public LogReaderService addingService(ServiceReference<LogReaderService> reference) {
                LogReaderService reader = super.addingService(reference);
                reader.addLogListener(listener);
                return reader;
            }
        }.open();
    }

    @Override
    public void logged(LogEntry entry) {
        if (entry.getLoggerName().equals(TRACE)) {
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
