package io.blockwharf.api.trace;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * What can be traced. Each event is off until somebody turns it on; then it is a line of its name
 * and what it is about, which goes to the daemon's one sink. None is recorded where requests are
 * served. Thread-safe.
 *
 * <p>One list for all bundles, as QEMU has one: a pattern means the same whatever is installed.
 */
public enum TraceEvent {
    /** A client of a monitor is served now. */
    QMP_CLIENT_CONNECTED("monitor %s"),
    /** A client of a monitor has gone. */
    QMP_CLIENT_LEFT("monitor %s"),
    /** A command is carried out; its arguments, which may be secrets, are not told. */
    QMP_COMMAND_IN("monitor %s command %s"),
    /** A command has been carried out: "ok", or its error. */
    QMP_COMMAND_OUT("monitor %s command %s: %s"),
    /** An event goes to all monitors. */
    QMP_EVENT("%s"),
    /** A client chardev tries to connect again. */
    CHARDEV_RECONNECT("chardev %s"),
    /** A descriptor got a name. */
    MONITOR_FD_NAMED("name %s fd %s"),
    /** A descriptor was put into a set. */
    MONITOR_FD_ADDED("fdset %s fd %s"),
    /** A node is there, by its driver. */
    BLOCK_NODE_OPENED("node %s driver %s"),
    /** A node is gone. */
    BLOCK_NODE_CLOSED("node %s"),
    /** An export is there. */
    BLOCK_EXPORT_ADDED("export %s type %s node %s"),
    /** An export is gone. */
    BLOCK_EXPORT_REMOVED("export %s"),
    /** A dirty bitmap is there. */
    DIRTY_BITMAP_ADDED("node %s bitmap %s"),
    /** A dirty bitmap is gone. */
    DIRTY_BITMAP_REMOVED("node %s bitmap %s"),
    /** A client was accepted; nothing is negotiated. */
    NBD_CLIENT_CONNECTED("client %s"),
    /** An option of the negotiation, by its number in NBD's protocol. */
    NBD_OPTION("client %s option %s"),
    /** A client has chosen its export. */
    NBD_CLIENT_ATTACHED("client %s export %s"),
    /** A client is gone, whoever ended it. */
    NBD_CLIENT_LEFT("client %s");

    private static volatile Consumer<String> sink = _ -> {};

    private final String format;
    private volatile boolean on;

    TraceEvent(String format) {
        this.format = format;
    }

    /** The name that people use: {@code nbd_client_left}. */
    public String id() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** Whether it is told. */
    public boolean isOn() {
        return on;
    }

    /** Turns it on or off; from any thread, at once. */
    public void turn(boolean nowOn) {
        on = nowOn;
    }

    /**
     * Tells the sink, if this event is on.
     *
     * @param about what the event's format has room for
     */
    public void record(Object... about) {
        if (on) {
            sink.accept(id() + " " + format.formatted(about));
        }
    }

    /** Says where lines go from now on. They come from any thread. */
    public static void sendTo(Consumer<String> newSink) {
        sink = newSink;
    }

    /**
     * The events whose names match.
     *
     * @param pattern in which {@code *} is any text and {@code ?} any character
     */
    public static List<TraceEvent> matching(String pattern) {
        String regex =
                pattern.codePoints()
                        .mapToObj(
                                c ->
                                        switch (c) {
                                            case '*' -> ".*";
                                            case '?' -> ".";
                                            default -> Pattern.quote(Character.toString(c));
                                        })
                        .collect(Collectors.joining());
        Pattern compiled = Pattern.compile(regex, Pattern.DOTALL);
        return Arrays.stream(values())
                .filter(event -> compiled.matcher(event.id()).matches())
                .toList();
    }
}
