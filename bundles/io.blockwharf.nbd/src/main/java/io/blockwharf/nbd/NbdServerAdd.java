package io.blockwharf.nbd;

import io.blockwharf.api.export.BlockExportOptions;
import io.blockwharf.api.export.BlockExports;
import io.blockwharf.api.qmp.Feature;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpDispatcher;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * QMP {@code nbd-server-add}, deprecated: {@code block-export-add} with a name for an id, and with
 * leniency for read-only nodes.
 */
@Component
@QmpName("nbd-server-add")
@Feature("deprecated")
public final class NbdServerAdd implements QmpCommand<NbdServerAdd.Arguments, Nothing> {
    /**
     * QAPI {@code NbdServerAddOptions}.
     *
     * @param name of the export, and its id (default: {@code device})
     * @param description shown to clients
     * @param device the node
     * @param writable whether clients may write if the node can be written (default false)
     * @param bitmap a dirty bitmap that clients may read
     */
    public record Arguments(
            Optional<String> name,
            Optional<String> description,
            String device,
            Optional<Boolean> writable,
            Optional<String> bitmap) {}

    private final BlockExports exports;
    private final QmpDispatcher commands;

    /** Adds to these exports; asks for the nodes by a command, as any client would. */
    @Activate
    public NbdServerAdd(@Reference BlockExports exports, @Reference QmpDispatcher commands) {
        this.exports = exports;
        this.commands = commands;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        String name = arguments.name().orElse(arguments.device());
        NbdExportDriver.checkLengths(name, arguments.description());
        boolean readOnly = isReadOnly(arguments.device());
        exports.add(
                new BlockExportOptions(
                        NbdExportDriver.TYPE,
                        name,
                        Optional.empty(),
                        Optional.empty(),
                        arguments.device(),
                        Optional.of(arguments.writable().orElse(false) && !readOnly),
                        Optional.empty(),
                        Optional.empty(),
                        new NbdExportOptions(
                                Optional.of(name),
                                arguments.description(),
                                arguments
                                        .bitmap()
                                        .map(NbdExportOptions.Local::new)
                                        .map(List::<NbdExportOptions.BitmapReference>of),
                                Optional.empty(),
                                Optional.empty(),
                                Optional.empty(),
                                Optional.empty(),
                                Optional.empty())));
        return Nothing.NOTHING;
    }

    private boolean isReadOnly(String device) {
        if (commands.execute("query-named-block-nodes", Map.of()) instanceof List<?> nodes) {
            for (Object node : nodes) {
                if (node instanceof Map<?, ?> info && device.equals(info.get("node-name"))) {
                    return Boolean.TRUE.equals(info.get("ro"));
                }
            }
        }
        throw QmpException.generic("Cannot find device='%s' nor node-name='%s'", device, device);
    }
}
