package io.blockwharf.core.export;

import io.blockwharf.api.export.BlockExportRemoveMode;
import io.blockwharf.api.export.BlockExports;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Optional;

/** QMP {@code block-export-del}. */
@Component(service = QmpCommand.class)
@QmpName("block-export-del")
public final class BlockExportDel implements QmpCommand<BlockExportDel.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param id the export
     * @param mode safe if it is missing
     */
    public record Arguments(String id, Optional<BlockExportRemoveMode> mode) {}

    private final BlockExports exports;

    /** Works on that registry. */
    @Activate
    public BlockExportDel(@Reference BlockExports exports) {
        this.exports = exports;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        exports.remove(arguments.id(), arguments.mode().orElse(BlockExportRemoveMode.SAFE));
        return Nothing.NOTHING;
    }
}
