package io.blockwharf.shell;

import io.blockwharf.api.qmp.QmpDispatcher;

import org.apache.felix.service.command.Descriptor;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;

/** {@code nbd:*}. */
@Component(
        service = NbdCommands.class,
        property = {
            "osgi.command.scope=nbd",
            "osgi.command.function=start",
            "osgi.command.function=stop",
            "osgi.command.function=servers",
            "osgi.command.function=clients",
            "osgi.command.function=exports",
            "osgi.command.function=disconnect"
        })
public final class NbdCommands {
    /**
     * A server.
     *
     * @param id of its object; missing for that of {@code nbd:start}
     * @param addresses where it listens
     * @param tls whether it insists on TLS
     * @param clients connections at this moment
     * @param exports names of its exports
     */
    public record Server(
            Optional<String> id, String addresses, boolean tls, long clients, String exports) {}

    /**
     * A client.
     *
     * @param id number of the connection, for {@code nbd:disconnect}
     * @param server id of the server's object
     * @param peer where it comes from; missing for a local socket without a name
     * @param user user id of a local client
     * @param identity who it has proved to be through TLS
     * @param export the export's name; missing while it negotiates
     * @param since when it connected
     * @param reads READ requests
     * @param writes WRITE requests
     * @param others other requests
     * @param errors requests that were answered with an error
     * @param bytesRead bytes that it asked for
     * @param bytesWritten bytes that it brought
     * @param inFlight requests that wait for the node
     */
    public record Client(
            long id,
            Optional<String> server,
            Optional<String> peer,
            Optional<Long> user,
            Optional<String> identity,
            Optional<String> export,
            Instant since,
            long reads,
            long writes,
            long others,
            long errors,
            long bytesRead,
            long bytesWritten,
            long inFlight) {}

    /**
     * What the clients of an export have done. Times are the upper ends of bins: half of the
     * requests, or 99 of 100, took less.
     *
     * @param name the export's name
     * @param server id of the server's object
     * @param clients connections that use it
     * @param reads READ requests
     * @param readP50 half of them took less
     * @param readP99 99 of 100 took less
     * @param writes WRITE requests
     * @param writeP50 half of them took less
     * @param writeP99 99 of 100 took less
     * @param errors requests that were answered with an error
     * @param bytesRead bytes that were asked for
     * @param bytesWritten bytes that were brought
     */
    public record Export(
            String name,
            Optional<String> server,
            long clients,
            long reads,
            Optional<String> readP50,
            Optional<String> readP99,
            long writes,
            Optional<String> writeP50,
            Optional<String> writeP99,
            long errors,
            long bytesRead,
            long bytesWritten) {}

    private final QmpDispatcher dispatcher;

    /** Commands on the daemon's NBD server. */
    @Activate
    public NbdCommands(@Reference QmpDispatcher dispatcher) {
        this.dispatcher = dispatcher;
    }

    /** Starts the server. */
    @Descriptor("start the NBD server: nbd:start localhost:10809, or nbd:start /run/nbd.sock")
    public void start(
            @Descriptor("HOST:PORT or PATH or addr.type=... [KEY=VALUE...]") String... words) {
        List<String> parameters = new ArrayList<>(List.of(words));
        if (words.length > 0 && words[0].indexOf('=') < 0) {
            parameters.removeFirst();
            parameters.addAll(0, address(words[0]));
        }
        dispatcher.option("nbd-server", Words.arguments("", parameters), true);
    }

    /** A path has a slash; everything else is a host, perhaps in brackets, and a port. */
    private static List<String> address(String word) {
        if (word.indexOf('/') >= 0) {
            return List.of("addr.type=unix", "addr.path=" + word);
        }
        int colon = word.lastIndexOf(':');
        String host = word.substring(0, Math.max(0, colon)).replaceAll("^\\[|]$", "");
        return List.of(
                "addr.type=inet", "addr.host=" + host, "addr.port=" + word.substring(colon + 1));
    }

    /** All servers. */
    @Descriptor("list the NBD servers: nbd:start's, and objects of type nbd-server")
    public List<Server> servers() {
        return answers(
                "query-nbd-servers",
                server ->
                        new Server(
                                text(server, "id"),
                                words(server, "addresses"),
                                Boolean.TRUE.equals(server.get("tls")),
                                number(server, "clients"),
                                words(server, "exports")));
    }

    /** Everybody who is connected. */
    @Descriptor("list the NBD clients, oldest first")
    public List<Client> clients() {
        return answers(
                "query-nbd-clients",
                client ->
                        new Client(
                                number(client, "id"),
                                text(client, "server"),
                                text(client, "peer").filter(peer -> !peer.isEmpty()),
                                Optional.ofNullable((Number) client.get("uid"))
                                        .map(Number::longValue),
                                text(client, "tls-identity"),
                                text(client, "export"),
                                Instant.ofEpochSecond(number(client, "since")),
                                number(client, "reads"),
                                number(client, "writes"),
                                number(client, "others"),
                                number(client, "errors"),
                                number(client, "bytes-read"),
                                number(client, "bytes-written"),
                                number(client, "in-flight")));
    }

    /** What was done through each export. */
    @Descriptor("show what the clients of each NBD export have done, and how fast")
    public List<Export> exports() {
        return answers(
                "query-nbd-exports",
                export ->
                        new Export(
                                (String) export.get("name"),
                                text(export, "server"),
                                number(export, "clients"),
                                number(export, "reads"),
                                quantile(export, "read", 50),
                                quantile(export, "read", 99),
                                number(export, "writes"),
                                quantile(export, "write", 50),
                                quantile(export, "write", 99),
                                number(export, "errors"),
                                number(export, "bytes-read"),
                                number(export, "bytes-written")));
    }

    private <T> List<T> answers(String command, Function<Map<?, ?>, T> row) {
        List<?> answer = (List<?>) dispatcher.execute(command, Map.of());
        return answer.stream()
                .map(each -> row.apply((Map<?, ?>) each))
                .collect(Collectors.toCollection(ArrayList::new));
    }

    private static Optional<String> text(Map<?, ?> object, String member) {
        return Optional.ofNullable((String) object.get(member));
    }

    private static String words(Map<?, ?> object, String member) {
        return ((List<?>) object.get(member))
                .stream().map(Object::toString).collect(Collectors.joining(" "));
    }

    private static long number(Map<?, ?> object, String member) {
        return ((Number) object.get(member)).longValue();
    }

    /** The upper end of the bin that the request of that rank lies in; empty without requests. */
    private static Optional<String> quantile(Map<?, ?> export, String kind, int percent) {
        Map<?, ?> latency = (Map<?, ?>) export.get("latency");
        Map<?, ?> histogram = (Map<?, ?>) latency.get(kind);
        List<?> boundaries = (List<?>) histogram.get("boundaries");
        List<Long> bins =
                ((List<?>) histogram.get("bins"))
                        .stream().map(bin -> ((Number) bin).longValue()).toList();
        long all = bins.stream().mapToLong(Long::longValue).sum();
        long below = 0;
        for (int i = 0; i < boundaries.size(); i++) {
            below += bins.get(i);
            if (below > 0 && below * 100 >= all * percent) {
                return Optional.of(time(((Number) boundaries.get(i)).longValue()));
            }
        }
        return all == 0 ? Optional.empty() : Optional.of("longer");
    }

    private static String time(long nanos) {
        return nanos < 10_000_000
                ? nanos / 1000 + "us"
                : nanos < 10_000_000_000L ? nanos / 1_000_000 + "ms" : nanos / 1_000_000_000 + "s";
    }

    /** Ends a connection. */
    @Descriptor("end the connection of an NBD client: nbd:disconnect 7")
    public void disconnect(@Descriptor("ID") long id) {
        dispatcher.execute("nbd-client-disconnect", Map.of("id", id));
    }

    /** Stops the server. */
    @Descriptor("stop the NBD server and remove its exports")
    public void stop() {
        dispatcher.execute("nbd-server-stop", Map.of());
    }
}
