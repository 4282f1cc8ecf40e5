package io.blockwharf.qmp.chardev;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;

/** {@code query-chardev}. */
@Component
@QmpName("query-chardev")
public final class QueryChardev implements QmpCommand<Nothing, List<Chardevs.Info>> {
    private final Chardevs chardevs;

    /** A query of {@code chardevs}. */
    @Activate
    public QueryChardev(@Reference Chardevs chardevs) {
        this.chardevs = chardevs;
    }

    @Override
    public List<Chardevs.Info> execute(Nothing none) {
        return chardevs.list();
    }
}
