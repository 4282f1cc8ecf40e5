package io.blockwharf.core.object;

import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;
import java.util.Optional;

/** QMP {@code qom-list-types}. */
@Component
@QmpName("qom-list-types")
public final class QomListTypes
        implements QmpCommand<QomListTypes.Arguments, List<QomListTypes.TypeInfo>> {
    /**
     * The arguments.
     *
     * @param implements_ only types that are this one, or extend or implement it
     * @param abstract_ abstract types, too (default false)
     */
    public record Arguments(Optional<String> implements_, Optional<Boolean> abstract_) {}

    /**
     * QAPI {@code ObjectTypeInfo}.
     *
     * @param name the type's name
     * @param abstract_ true if there are no objects of it, else left out
     * @param parent what it extends
     */
    public record TypeInfo(String name, Optional<Boolean> abstract_, Optional<String> parent) {}

    private final Qom qom;

    /** Works on that tree. */
    @Activate
    public QomListTypes(@Reference Qom qom) {
        this.qom = qom;
    }

    @Override
    public List<TypeInfo> execute(Arguments arguments) {
        boolean withAbstract = arguments.abstract_().orElse(false);
        return qom.types().stream()
                .filter(type -> withAbstract || !type.isAbstract())
                .filter(type -> arguments.implements_().map(t -> qom.is(type, t)).orElse(true))
                .map(
                        type ->
                                new TypeInfo(
                                        type.name(),
                                        Optional.of(true).filter(_ -> type.isAbstract()),
                                        type.parent()))
                .toList();
    }
}
