package io.blockwharf.qmp.chardev;

import io.blockwharf.api.qmp.CommandLineOption;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.SizeValue;
import io.blockwharf.linux.SocketAddress;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.lang.reflect.RecordComponent;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * {@code --chardev}: the options of all backends side by side, as QEMU's older options have it. An
 * option that the backend does not look at is ignored.
 */
@Component
@CommandLineOption(
        name = "chardev",
        implied = "backend",
        help =
                "[backend=]stdio|socket|file|ringbuf|null,id=ID[,...]: a stream of bytes for a"
                        + " monitor")
public final class ChardevOption implements QmpCommand<ChardevOption.Arguments, Nothing> {
    private static final Pattern IDENTIFIER = Pattern.compile("[a-zA-Z][a-zA-Z0-9._-]*");

    /**
     * The options.
     *
     * @param id the chardev's id
     * @param backend its kind
     * @param path file or local socket
     * @param inputPath see {@link ChardevBackend.File}
     * @param append see {@link ChardevBackend.File}
     * @param host of a TCP socket
     * @param port of a TCP socket
     * @param to last port that may be tried
     * @param ipv4 whether IPv4 may be used
     * @param ipv6 whether IPv6 may be used
     * @param fd an inherited socket
     * @param abstract_ whether {@code path} is in the abstract namespace
     * @param tight whether an abstract name is not padded
     * @param mode permissions of the file of a local socket, see {@link SocketAddress.Unix}
     * @param owner see there
     * @param group see there
     * @param server whether to listen (default false)
     * @param wait_ whether to wait for a client (default true, if listening)
     * @param delay the opposite of {@code nodelay}
     * @param nodelay see {@link ChardevBackend.Socket}
     * @param reconnect see there
     * @param reconnectMs see there
     * @param signal see {@link ChardevBackend.Stdio}
     * @param size see {@link ChardevBackend.Ringbuf}
     */
    public record Arguments(
            Optional<String> id,
            Optional<String> backend,
            Optional<String> path,
            Optional<String> inputPath,
            Optional<Boolean> append,
            Optional<String> host,
            Optional<String> port,
            Optional<Integer> to,
            Optional<Boolean> ipv4,
            Optional<Boolean> ipv6,
            Optional<String> fd,
            Optional<Boolean> abstract_,
            Optional<Boolean> tight,
            Optional<String> mode,
            Optional<String> owner,
            Optional<String> group,
            Optional<Boolean> server,
            Optional<Boolean> wait_,
            Optional<Boolean> delay,
            Optional<Boolean> nodelay,
            Optional<Long> reconnect,
            Optional<Long> reconnectMs,
            Optional<Boolean> signal,
            @SizeValue Optional<Long> size) {}

    /** What the value of an option is, as its text is checked before anything else. */
    public enum Type {
        TEXT,
        NUMBER,
        SIZE
    }

    /** The options by name. */
    public static final Map<String, Type> TYPES =
            Stream.of(Arguments.class.getRecordComponents())
                    .collect(
                            Collectors.toUnmodifiableMap(
                                    component ->
                                            component
                                                    .getName()
                                                    .replace("_", "")
                                                    .replaceAll("(?=[A-Z])", "-")
                                                    .toLowerCase(Locale.ROOT),
                                    ChardevOption::type));

    private static Type type(RecordComponent component) {
        if (component.isAnnotationPresent(SizeValue.class)) {
            return Type.SIZE;
        }
        String generic = component.getGenericType().getTypeName();
        return generic.contains("Long") || generic.contains("Integer") ? Type.NUMBER : Type.TEXT;
    }

    private final Chardevs chardevs;

    /** An option that adds to {@code chardevs}. */
    @Activate
    public ChardevOption(@Reference Chardevs chardevs) {
        this.chardevs = chardevs;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        String id =
                arguments.id().orElseThrow(() -> QmpException.generic("chardev: no id specified"));
        if (!IDENTIFIER.matcher(id).matches()) {
            throw QmpException.generic(
                    "Parameter 'id' expects an identifier\nIdentifiers consist of letters,"
                            + " digits, '-', '.', '_', starting with a letter.");
        }
        String kind =
                arguments
                        .backend()
                        .orElseThrow(
                                () -> QmpException.generic("chardev: \"%s\" missing backend", id));
        ChardevBackend backend = backend(kind, arguments);
        if (chardevs.exists(id)) {
            throw QmpException.generic(
                    "attempt to add duplicate property '%s' to object (type 'container')", id);
        }
        chardevs.add(id, backend);
        chardevs.terminal(id)
                .ifPresent(
                        terminal ->
                                System.out.printf(
                                        "char device redirected to %s (label %s)%n", terminal, id));
        return Nothing.NOTHING;
    }

    private static ChardevBackend backend(String kind, Arguments arguments) {
        return switch (kind) {
            case "file" ->
                    new ChardevBackend.File(
                            arguments.inputPath(),
                            arguments
                                    .path()
                                    .orElseThrow(
                                            () ->
                                                    QmpException.generic(
                                                            "chardev: file: no filename given")),
                            arguments.append());
            case "null" -> new ChardevBackend.Null();
            case "memory", "ringbuf" -> new ChardevBackend.Ringbuf(arguments.size());
            case "pipe" ->
                    new ChardevBackend.Pipe(
                            arguments
                                    .path()
                                    .orElseThrow(
                                            () ->
                                                    QmpException.generic(
                                                            "chardev: pipe: no device path"
                                                                    + " given")));
            case "pty" -> new ChardevBackend.Pty();
            case "socket" -> socket(arguments);
            case "stdio" -> new ChardevBackend.Stdio(arguments.signal());
            default -> throw QmpException.generic("'%s' is not a valid char driver name", kind);
        };
    }

    private static ChardevBackend socket(Arguments arguments) {
        if (Stream.of(arguments.path(), arguments.fd(), arguments.host())
                        .filter(Optional::isPresent)
                        .count()
                > 1) {
            throw QmpException.generic("None or one of 'path', 'fd' or 'host' option required.");
        }
        SocketAddress address = address(arguments);
        boolean server =
                arguments.server().orElse(false)
                        || address instanceof SocketAddress.Fd fd && Chardevs.listens(fd);
        Optional<Boolean> wait = server ? Optional.of(true) : Optional.empty();
        return new ChardevBackend.Socket(
                address,
                Optional.of(server),
                arguments.wait_().or(() -> wait),
                arguments.nodelay().or(() -> arguments.delay().map(delay -> !delay)),
                arguments.reconnect(),
                arguments.reconnectMs());
    }

    private static SocketAddress address(Arguments arguments) {
        if (arguments.path().isPresent()) {
            return new SocketAddress.Unix(
                    arguments.path().get(),
                    arguments.abstract_(),
                    arguments.tight(),
                    arguments.mode(),
                    arguments.owner(),
                    arguments.group());
        } else if (arguments.host().isPresent()) {
            String port =
                    arguments
                            .port()
                            .orElseThrow(
                                    () -> QmpException.generic("chardev: socket: no port given"));
            return new SocketAddress.Inet(
                    arguments.host().get(),
                    port,
                    Optional.empty(),
                    arguments.to(),
                    arguments.ipv4(),
                    arguments.ipv6(),
                    Optional.empty(),
                    Optional.empty(),
                    Optional.empty(),
                    Optional.empty(),
                    Optional.empty());
        }
        return new SocketAddress.Fd(arguments.fd().orElse(""));
    }
}
