package io.blockwharf.nbd;

import io.blockwharf.api.export.BlockExportInfo;
import io.blockwharf.api.export.BlockExportRemoveMode;
import io.blockwharf.api.export.BlockExports;
import io.blockwharf.api.qmp.Feature;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Optional;

/** QMP {@code nbd-server-remove}, deprecated: {@code block-export-del} of an NBD export. */
@Component
@QmpName("nbd-server-remove")
@Feature("deprecated")
public final class NbdServerRemove implements QmpCommand<NbdServerRemove.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param name the export's id
     * @param mode default safe
     */
    public record Arguments(String name, Optional<BlockExportRemoveMode> mode) {}

    private final BlockExports exports;

    /** Removes from these exports. */
    @Activate
    public NbdServerRemove(@Reference BlockExports exports) {
        this.exports = exports;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        Optional<BlockExportInfo> export = exports.find(arguments.name());
        if (export.isPresent() && !export.get().type().equals(NbdExportDriver.TYPE)) {
            throw QmpException.generic("Block export '%s' is not an NBD export", arguments.name());
        }
        exports.remove(arguments.name(), arguments.mode().orElse(BlockExportRemoveMode.SAFE));
        return Nothing.NOTHING;
    }
}
