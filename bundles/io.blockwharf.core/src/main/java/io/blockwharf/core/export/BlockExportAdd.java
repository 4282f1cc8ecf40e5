package io.blockwharf.core.export;

import io.blockwharf.api.export.BlockExportOptions;
import io.blockwharf.api.export.BlockExports;
import io.blockwharf.api.qmp.CommandLineOption;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** QMP {@code block-export-add}, option {@code --export}. */
@Component(service = QmpCommand.class)
@QmpName("block-export-add")
@CommandLineOption(
        name = "export",
        implied = "type",
        help =
                "[type=]TYPE,id=ID,node-name=NODE[,writable=on|off][,OPTION=VALUE...]  export a"
                        + " node")
public final class BlockExportAdd implements QmpCommand<BlockExportOptions, Nothing> {
    private final BlockExports exports;

    /** Works on that registry. */
    @Activate
    public BlockExportAdd(@Reference BlockExports exports) {
        this.exports = exports;
    }

    @Override
    public Nothing execute(BlockExportOptions options) {
        exports.add(options);
        return Nothing.NOTHING;
    }
}
