package io.blockwharf.shell;

import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.BlockExportInfo;
import io.blockwharf.api.export.BlockExports;
import io.blockwharf.api.export.ExportTypeInfo;
import io.blockwharf.api.qmp.QmpDispatcher;

import org.apache.felix.service.command.Descriptor;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** {@code export:*}. */
@Component(
        service = ExportCommands.class,
        property = {
            "osgi.command.scope=export",
            "osgi.command.function=add",
            "osgi.command.function=list",
            "osgi.command.function=show",
            "osgi.command.function=del",
            "osgi.command.function=types"
        })
public final class ExportCommands {
    private final QmpDispatcher dispatcher;
    private final BlockExports exports;

    /** Commands on the daemon's exports. */
    @Activate
    public ExportCommands(@Reference QmpDispatcher dispatcher, @Reference BlockExports exports) {
        this.dispatcher = dispatcher;
        this.exports = exports;
    }

    /** Starts an export. */
    @Descriptor("export a node: export:add nbd id=e0 node-name=disk writable=on")
    public BlockExportInfo add(
            @Descriptor("TYPE id=ID node-name=NODE [KEY=VALUE...]") String... words) {
        Map<String, Object> arguments = Words.arguments("type", List.of(words));
        dispatcher.option("export", arguments, true);
        return exports.find((String) arguments.get("id")).orElseThrow();
    }

    /**
     * A line of {@code export:list}.
     *
     * @param id the export's id
     * @param type its type
     * @param nodeName the exported node
     * @param shuttingDown whether it is being removed
     * @param path the way that its requests take, if its type has several
     */
    public record ListedExport(
            String id, String type, String nodeName, boolean shuttingDown, Optional<String> path) {}

    /** All exports. */
    @Descriptor("list the exports, newest first")
    public List<ListedExport> list() {
        return new ArrayList<>(exports.list().stream().map(this::listed).toList());
    }

    private ListedExport listed(BlockExportInfo export) {
        return new ListedExport(
                export.id(),
                export.type(),
                export.nodeName(),
                export.shuttingDown(),
                Optional.ofNullable(exports.details(export.id()).get(BlockExport.PATH))
                        .map(Object::toString));
    }

    /** What the driver of an export tells about it; empty if there is no such export. */
    @Descriptor("show how an export is served: export:show e0")
    public Map<String, Object> show(@Descriptor("ID") String id) {
        return exports.details(id);
    }

    /** Removes an export that nobody uses. */
    @Descriptor("remove an export: export:del e0, or export:del e0 hard to disconnect its clients")
    public void del(@Descriptor("ID") String id) {
        del(id, "safe");
    }

    /** Removes an export. */
    @Descriptor("remove an export, even if it is in use")
    public void del(@Descriptor("ID") String id, @Descriptor("safe|hard") String mode) {
        Map<String, Object> arguments = new LinkedHashMap<>();
        arguments.put("id", id);
        arguments.put("mode", mode);
        dispatcher.execute("block-export-del", arguments);
    }

    /** The types that can be exported, or why not. */
    @Descriptor("list the export types: which are available, and why others are not")
    public List<ExportTypeInfo> types() {
        return new ArrayList<>(exports.types());
    }
}
