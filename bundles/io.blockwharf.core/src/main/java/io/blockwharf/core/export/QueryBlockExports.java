package io.blockwharf.core.export;

import io.blockwharf.api.export.BlockExportInfo;
import io.blockwharf.api.export.BlockExports;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;

/** QMP {@code query-block-exports}. */
@Component(service = QmpCommand.class)
@QmpName("query-block-exports")
public final class QueryBlockExports implements QmpCommand<Nothing, List<BlockExportInfo>> {
    private final BlockExports exports;

    /** Shows that registry. */
    @Activate
    public QueryBlockExports(@Reference BlockExports exports) {
        this.exports = exports;
    }

    @Override
    public List<BlockExportInfo> execute(Nothing none) {
        return exports.list();
    }
}
