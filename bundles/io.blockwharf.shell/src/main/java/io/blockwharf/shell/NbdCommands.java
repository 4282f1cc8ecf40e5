package io.blockwharf.shell;

import io.blockwharf.api.qmp.QmpDispatcher;

import org.apache.felix.service.command.Descriptor;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** {@code nbd:*}. */
@Component(
        service = NbdCommands.class,
        property = {
            "osgi.command.scope=nbd",
            "osgi.command.function=start",
            "osgi.command.function=stop"
        })
public final class NbdCommands {
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

    /** Stops the server. */
    @Descriptor("stop the NBD server and remove its exports")
    public void stop() {
        dispatcher.execute("nbd-server-stop", Map.of());
    }
}
