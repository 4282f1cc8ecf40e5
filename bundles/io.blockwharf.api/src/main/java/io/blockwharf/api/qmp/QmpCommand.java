package io.blockwharf.api.qmp;

import org.osgi.annotation.versioning.ConsumerType;

/**
 * A command: a service whose QMP name is given by {@link QmpName}, or that carries out a command
 * line option given by {@link CommandLineOption}, or both.
 *
 * <p>The type parameters are QAPI types as described in the package comment; core reads them from
 * the class.
 *
 * @param <A> the arguments; {@link Nothing} if there are none
 * @param <R> what is returned: a record, a list, a string, a number, {@link Nothing}, or {@link
 *     Object} for any JSON value made of maps, lists, strings, numbers and booleans
 */
@ConsumerType
public interface QmpCommand<A extends Record, R> {
    /**
     * Carries the command out. Called with core's control lock held: commands run one at a time.
     *
     * @param arguments checked and complete
     * @throws QmpException with nothing done
     */
    R execute(A arguments);
}
