package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * QMP {@code blockdev-snapshot-sync}: makes an overlay and puts it on a node. The overlay lives as
 * long as it has users.
 */
@Component(service = QmpCommand.class)
@QmpName("blockdev-snapshot-sync")
public final class BlockdevSnapshotSync
        implements QmpCommand<BlockdevSnapshotSync.Arguments, Nothing> {
    /** QAPI {@code NewImageMode}. */
    public enum NewImageMode {
        /** The image is there. */
        EXISTING,
        /** It is to be made, with the absolute name of its backing file. */
        ABSOLUTE_PATHS
    }

    /**
     * The arguments: QAPI {@code BlockdevSnapshotSync}.
     *
     * @param device a name of a device, of which there are none here
     * @param nodeName the node
     * @param snapshotFile the path of the overlay
     * @param snapshotNodeName the overlay's node name
     * @param format the overlay's driver (default qcow2)
     * @param mode default absolute-paths
     */
    public record Arguments(
            Optional<String> device,
            Optional<String> nodeName,
            String snapshotFile,
            Optional<String> snapshotNodeName,
            Optional<String> format,
            Optional<NewImageMode> mode) {}

    private final BlockGraph graph;
    private final Creators creators;

    /** Works on that graph. */
    @Activate
    public BlockdevSnapshotSync(@Reference BlockGraph graph, @Reference Creators creators) {
        this.graph = graph;
        this.creators = creators;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        String name = arguments.nodeName().orElse("");
        Node base =
                graph.find(name)
                        .orElseThrow(
                                () ->
                                        QmpException.generic(
                                                "Cannot find device='%s' nor node-name='%s'",
                                                arguments.device().orElse(""), name));
        Overlays.checkBase(base);
        String overlay =
                arguments
                        .snapshotNodeName()
                        .orElseThrow(() -> QmpException.generic("New overlay node-name missing"));
        if (graph.find(overlay).isPresent()) {
            throw QmpException.generic("New overlay node-name already in use");
        }
        String format = arguments.format().orElse("qcow2");
        OptionalLong made = OptionalLong.empty();
        if (arguments.mode().orElse(NewImageMode.ABSOLUTE_PATHS) == NewImageMode.ABSOLUTE_PATHS) {
            made = OptionalLong.of(base.length());
            create(base, format, arguments.snapshotFile(), made.getAsLong());
        }
        graph.snapshot(base, overlay, format, arguments.snapshotFile(), made);
        return Nothing.NOTHING;
    }

    private void create(Node base, String format, String path, long bytes) {
        if (!graph.hasDriver(format)) {
            throw QmpException.generic("Unknown file format '%s'", format);
        }
        if (!creators.makesOverlays(format)) {
            throw QmpException.generic("Backing file not supported for file format '%s'", format);
        }
        try {
            creators.work(creators.options(Map.of("driver", "file", "filename", path, "size", 0L)))
                    .run();
            creators.work(
                            creators.options(
                                    Map.of(
                                            "driver",
                                            format,
                                            "file",
                                            Map.of("driver", "file", "filename", path),
                                            "size",
                                            bytes,
                                            "backing-file",
                                            base.filename(),
                                            "backing-fmt",
                                            base.driverName)))
                    .run();
        } catch (BlockIoException e) {
            throw new QmpException(e.getMessage(), e);
        }
    }
}
