package io.blockwharf.qmp;

import io.blockwharf.api.qmp.QmpDispatcher;
import io.blockwharf.api.qmp.QmpEvent;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpException.ErrorClass;
import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.linux.Descriptor;
import io.blockwharf.linux.NamedDescriptors;
import io.blockwharf.qmp.chardev.Peer;
import io.blockwharf.qmp.wire.JsonReader;
import io.blockwharf.qmp.wire.JsonText;

import org.osgi.service.log.Logger;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * One client from the greeting to its end. qmp-spec.
 *
 * <p>The thread that calls {@link #run} reads, a second one carries out the commands, a third one
 * sends. So a client can be answered out of band while a command runs, events go out at once, and a
 * client that does not read stops only itself: its commands first, then its input.
 */
final class Session {
    /** The session whose command is running. */
    static final ScopedValue<Session> CURRENT = ScopedValue.newInstance();

    private static final String NEGOTIATION = "qmp_capabilities";
    private static final int READ_BYTES = 4096;

    /** Requests that are read ahead of the one that is carried out; QMP_REQ_QUEUE_LEN_MAX. */
    private static final int READ_AHEAD = 8;

    private static final long FLUSH_MILLIS = 1000;

    /** Ends the command thread. */
    private static final Queued END =
            new Queued(new Request.Invalid("", Optional.empty()), Long.MAX_VALUE, false);

    /**
     * A request that waits for its turn.
     *
     * @param mark which of the {@link #passed} descriptors it may claim
     * @param large whether it has the session's {@link HeapShare}
     */
    private record Queued(Request request, long mark, boolean large) {}

    /** qmp-spec, "Capabilities Negotiation". */
    private sealed interface Phase {
        record Negotiating() implements Phase {}

        record Commands(Set<Capability> capabilities) implements Phase {}
    }

    private final QmpDispatcher dispatcher;
    private final Peer peer;
    private final String name;
    private final JsonText style;
    private final Logger logger;
    private final Outbox outbox;
    private final Thread commands;
    private final BlockingQueue<Queued> requests = new ArrayBlockingQueue<>(READ_AHEAD);
    private final HeapShare share = new HeapShare();
    private final NamedDescriptors names;
    private final PassedDescriptors passed = new PassedDescriptors();

    /** Of the command that runs; by its thread. */
    private long mark;

    private volatile Phase phase = new Phase.Negotiating();
    private volatile boolean ending;
    private boolean losingEvents;

    /** A session that has not begun, of a monitor that has these descriptors. */
    Session(
            QmpDispatcher dispatcher,
            Peer peer,
            String name,
            JsonText style,
            NamedDescriptors names,
            Logger logger) {
        this.dispatcher = dispatcher;
        this.peer = peer;
        this.names = names;
        this.name = name;
        this.style = style;
        this.logger = logger;
        outbox = new Outbox(peer, "qmp " + name + " output");
        commands =
                Thread.ofPlatform()
                        .daemon()
                        .name("qmp " + name + " commands")
                        .unstarted(this::executeAll);
    }

    /** Serves the client until it or {@link #end} ends the session. */
    void run() throws InterruptedException {
        outbox.start();
        commands.start();
        try {
            outbox.send(bytes(greeting()));
            read();
        } catch (IOException e) {
            logger.debug("QMP client: {}", e.getMessage());
        } finally {
            // What was asked is carried out and answered, even if the client has said all it had.
            requests.put(END);
            commands.join();
            share.giveBack();
            passed.close();
            outbox.finish(FLUSH_MILLIS);
            peer.shutdown();
            outbox.close();
        }
    }

    /**
     * Ends the session: the command that runs is finished and answered, others are forgotten. From
     * any thread.
     */
    void end() {
        ending = true;
        requests.clear();
        requests.offer(END);
        try {
            if (Thread.currentThread() != commands) {
                commands.join(FLUSH_MILLIS);
            }
            outbox.finish(FLUSH_MILLIS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        peer.shutdown();
    }

    /** Tells the client, if it has negotiated, unless it does not read. From any thread. */
    void event(QmpEvent event) {
        if (!(phase instanceof Phase.Commands)) {
            return;
        }
        Map<String, Object> timestamp = new LinkedHashMap<>();
        timestamp.put("seconds", event.timestamp().getEpochSecond());
        timestamp.put("microseconds", event.timestamp().getNano() / 1000);
        Map<String, Object> message = new LinkedHashMap<>();
        message.put("timestamp", timestamp);
        message.put("event", event.name());
        if (!event.data().isEmpty()) {
            message.put("data", event.data());
        }
        synchronized (this) {
            boolean lost = !outbox.offer(bytes(message));
            if (lost && !losingEvents) {
                logger.warn("a QMP client does not read: it loses events from now on");
            }
            losingEvents = lost;
        }
    }

    /**
     * Leaves negotiation.
     *
     * @throws QmpException if that was done before
     */
    void negotiated(Set<Capability> capabilities) {
        phase = new Phase.Commands(Set.copyOf(capabilities));
    }

    /**
     * The descriptor that came with the command that runs, which is the caller's from now on.
     *
     * @throws QmpException if there is none
     */
    static Descriptor claimDescriptor() {
        Optional<Session> session =
                CURRENT.isBound() ? Optional.of(CURRENT.get()) : Optional.empty();
        return session.flatMap(current -> current.passed.claim(current.mark))
                .orElseThrow(
                        () -> QmpException.generic("No file descriptor supplied via SCM_RIGHTS"));
    }

    /** The named descriptors of the session's monitor. */
    NamedDescriptors names() {
        return names;
    }

    private Map<String, Object> greeting() {
        Object version = dispatcher.execute("query-version", Map.of());
        Map<String, Object> qmp = new LinkedHashMap<>();
        qmp.put("version", version);
        qmp.put("capabilities", Capability.names());
        return Map.of("QMP", qmp);
    }

    private void read() throws IOException, InterruptedException {
        JsonReader reader = new JsonReader(this::received, share::take);
        byte[] bytes = new byte[READ_BYTES];
        for (int n; !ending && (n = peer.read(bytes)) >= 0; ) {
            peer.takeDescriptor().ifPresent(passed::add);
            reader.read(bytes, 0, n);
            if (Thread.interrupted()) {
                throw new InterruptedException();
            }
        }
    }

    private void received(JsonReader.Found found) {
        boolean large = share.read();
        Request request =
                switch (found) {
                    case JsonReader.Value value ->
                            Request.of(value.value(), enabled(Capability.OOB));
                    case JsonReader.Malformed malformed ->
                            new Request.Invalid(malformed.message(), Optional.empty());
                };
        try {
            if (request.outOfBand()) {
                outbox.send(bytes(answer(request)));
                giveBack(large);
            } else {
                enqueue(new Queued(request, passed.mark(), large));
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void giveBack(boolean large) {
        if (large) {
            share.giveBack();
        }
    }

    private void enqueue(Queued request) throws InterruptedException {
        while (!ending && !requests.offer(request, FLUSH_MILLIS, TimeUnit.MILLISECONDS)) {
            // full: the command that runs takes its time
        }
    }

    private boolean enabled(Capability capability) {
        return phase instanceof Phase.Commands negotiated
                && negotiated.capabilities().contains(capability);
    }

    private void executeAll() {
        try {
            for (Queued next = requests.take(); next != END && !ending; next = requests.take()) {
                mark = next.mark();
                passed.settle(mark);
                outbox.send(bytes(traced(next.request())));
                giveBack(next.large());
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private Map<String, Object> traced(Request request) {
        if (!(request instanceof Request.Execute execute)) {
            return answer(request);
        }
        TraceEvent.QMP_COMMAND_IN.record(name, execute.command());
        Map<String, Object> answer = answer(request);
        TraceEvent.QMP_COMMAND_OUT.record(
                name, execute.command(), answer.getOrDefault("error", "ok"));
        return answer;
    }

    private Map<String, Object> answer(Request request) {
        Map<String, Object> answer = new LinkedHashMap<>();
        try {
            answer.put(
                    "return",
                    switch (request) {
                        case Request.Execute execute -> execute(execute);
                        case Request.Invalid invalid ->
                                throw new QmpException(ErrorClass.GENERIC_ERROR, invalid.message());
                    });
            request.id().ifPresent(id -> answer.put("id", id));
        } catch (QmpException e) {
            request.id().ifPresent(id -> answer.put("id", id));
            Map<String, Object> error = new LinkedHashMap<>();
            error.put("class", e.errorClass().wireName());
            error.put("desc", e.getMessage());
            answer.put("error", error);
        }
        return answer;
    }

    private Object execute(Request.Execute request) {
        boolean negotiation = request.command().equals(NEGOTIATION);
        if (phase instanceof Phase.Negotiating && !negotiation) {
            throw new QmpException(
                    ErrorClass.COMMAND_NOT_FOUND,
                    "Expecting capabilities negotiation with '" + NEGOTIATION + "'");
        } else if (phase instanceof Phase.Commands && negotiation) {
            throw new QmpException(
                    ErrorClass.COMMAND_NOT_FOUND,
                    "Capabilities negotiation is already complete, command ignored");
        }
        if (request.outOfBand()) {
            // None of the daemon's commands has the schema's allow-oob, so none is run here.
            throw dispatcher.commands().contains(request.command())
                    ? QmpException.generic("The command %s does not support OOB", request.command())
                    : new QmpException(
                            ErrorClass.COMMAND_NOT_FOUND,
                            "The command " + request.command() + " has not been found");
        }
        return names.during(
                () ->
                        ScopedValue.where(CURRENT, this)
                                .call(
                                        () ->
                                                dispatcher.execute(
                                                        request.command(), request.arguments())));
    }

    private byte[] bytes(Map<String, Object> message) {
        // Lines end as terminals want it, in QEMU and therefore here.
        String text = style.of(message).replace("\n", "\r\n") + "\r\n";
        return text.getBytes(StandardCharsets.US_ASCII);
    }
}
