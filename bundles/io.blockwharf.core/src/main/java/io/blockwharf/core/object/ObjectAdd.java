package io.blockwharf.core.object;

import io.blockwharf.api.qmp.CommandLineOption;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.ObjectOptions;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** QMP {@code object-add}, option {@code --object}. */
@Component
@QmpName("object-add")
@CommandLineOption(
        name = "object",
        implied = "qom-type",
        help = "TYPE,id=ID[,property=value,...]: create an object")
public final class ObjectAdd implements QmpCommand<ObjectOptions, Nothing> {
    private final Objects objects;

    /** Adds to that store. */
    @Activate
    public ObjectAdd(@Reference Objects objects) {
        this.objects = objects;
    }

    @Override
    public Nothing execute(ObjectOptions options) {
        objects.add(options);
        return Nothing.NOTHING;
    }
}
