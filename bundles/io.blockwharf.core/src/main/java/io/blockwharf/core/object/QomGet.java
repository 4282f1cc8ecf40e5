package io.blockwharf.core.object;

import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** QMP {@code qom-get}. */
@Component
@QmpName("qom-get")
public final class QomGet implements QmpCommand<QomGet.Arguments, Object> {
    /**
     * The arguments.
     *
     * @param path of the object
     * @param property its name
     */
    public record Arguments(String path, String property) {}

    private final Qom qom;

    /** Works on that tree. */
    @Activate
    public QomGet(@Reference Qom qom) {
        this.qom = qom;
    }

    @Override
    public Object execute(Arguments arguments) {
        return qom.get(arguments.path(), arguments.property());
    }
}
